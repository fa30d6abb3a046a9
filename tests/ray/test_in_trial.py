"""Trials that probe themselves."""

from __future__ import annotations

import logging
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from ray import tune
from ray.tune.schedulers import (
    ASHAScheduler,
)
from ray.tune.search.optuna import OptunaSearch
from torch import Tensor
from torch.nn.functional import cross_entropy

from recent_prune.data import load_digits
from recent_prune.probe import ProbeResult, Training, probe
from recent_prune.ray import ReconstructionEntropyScheduler, probe_and_report
from recent_prune.ray.in_trial import say_what_is_not_seen
from recent_prune.report.trials import trials_table
from recent_prune.rules import SUMMARY, Verdict
from tests.networks import mlp
from tests.ray.simulation import (
    improving,
    simulated,
    tuner,
)
from tests.ray.sweeps import (
    Make,
    doomed,
    each,
    inner,
    optuna_trials,
    rejected,
    space,
)

pytestmark = pytest.mark.usefixtures("local_ray")


class TestWithinTheTrial:
    """A trial that reports its own verdict, as `probe_and_report` does."""

    @staticmethod
    def report(config: dict[str, Any], iteration: int) -> dict[str, Any]:
        if config["doomed"]:
            known = {"trainable": False, "violation": 0.5, "cause": None, "loss_after": None}
            return {"score": float("nan"), "recent_prune": known}
        return improving(config, iteration)

    @inner("synchronous pbt")
    def test_it_is_stopped_and_the_wrapped_scheduler_forgets_it(
        self, make: Make, tmp_path: Path
    ) -> None:
        scheduler = ReconstructionEntropyScheduler(wrapped=make())
        with simulated(report=self.report) as log:
            results = tuner(tmp_path, scheduler, space(), 1).fit()
        assert results.num_terminated == 24
        assert len(log.started) == 24
        assert rejected(results) == doomed(results)
        ran = Counter(index for index, _ in log.iterations)
        for result in each(results):
            if result.metrics["config"]["doomed"]:
                assert ran[result.metrics["config"]["index"]] == 1
        assert scheduler.debug_string().endswith("8 condemned by a probe within the trial")

    def test_it_is_reported_on_as_pruned(self, tmp_path: Path) -> None:
        with simulated(report=self.report):
            results = tuner(tmp_path, ReconstructionEntropyScheduler(), space(9), 1).fit()
        table = trials_table(results)
        condemned = table["param:doomed"].tolist()
        assert any(condemned)
        assert (table["trainable"] == False).tolist() == condemned  # noqa: E712
        assert (table["state"] == "PRUNED").tolist() == condemned

    def test_a_stop_criterion_that_it_meets_makes_no_difference(self, tmp_path: Path) -> None:
        wrapped = ASHAScheduler(max_t=9)
        run = {"stop": {"training_iteration": 1}}
        with simulated(report=self.report):
            scheduler = ReconstructionEntropyScheduler(wrapped=wrapped)
            results = tuner(tmp_path, scheduler, space(), 1, run=run).fit()
        recorded = [value for _, rung in wrapped._brackets[0]._rungs for value in rung.values()]
        assert len(recorded) == 16
        assert all(value == value for value in recorded)
        assert "8 condemned" in scheduler.debug_string()
        assert results.num_errors == 0

    def test_optuna_with_two_objectives_hears_of_it_as_pruned(self, tmp_path: Path) -> None:
        search = OptunaSearch(metric=["score", "other"], mode=["max", "min"])
        search_space = {"quality": tune.uniform(0, 1), "doomed": tune.choice([False, True])}

        def report(config: dict[str, Any], iteration: int) -> dict[str, Any]:
            return {"other": float("nan"), **self.report(config, iteration)} | (
                {} if config["doomed"] else {"other": 1.0}
            )

        scheduler = ReconstructionEntropyScheduler()
        with simulated(report=report):
            tuner(tmp_path, scheduler, search_space, 16, metric=None, search_alg=search).fit()
        assert {(t.params["doomed"], t.state.name) for t in optuna_trials(search)} == {
            (True, "PRUNED"),
            (False, "COMPLETE"),
        }

    def test_optuna_hears_of_it_as_pruned(self, tmp_path: Path) -> None:
        search = OptunaSearch()
        search_space = {"quality": tune.uniform(0, 1), "doomed": tune.choice([False, True])}
        scheduler = ReconstructionEntropyScheduler()
        with simulated(report=self.report):
            tuner(tmp_path, scheduler, search_space, 16, search_alg=search).fit()
        trials = optuna_trials(search)
        assert {(t.params["doomed"], t.state.name) for t in trials} == {
            (True, "PRUNED"),
            (False, "COMPLETE"),
        }
        assert all(t.constraints == {"recent_prune": 0.5} for t in trials if t.params["doomed"])


def test_a_rule_may_judge_by_first_steps_and_gradients() -> None:
    seen: list[ProbeResult] = []

    def rule(result: ProbeResult) -> Verdict:
        seen.append(result)
        return Verdict(True, 0.0, "Whatever it is.")

    digits = load_digits()
    training = Training(cross_entropy, lambda p: torch.optim.SGD(p, 0.1), steps=3)
    batches = (digits.train, digits.train_labels)
    probe_and_report(mlp(), batches, metric="score", rule=rule, training=training)
    expected = probe(mlp(), batches, training=training)
    assert seen[0].gradients == expected.gradients is not None
    assert seen[0].steps is not None
    assert expected.steps is not None
    assert seen[0].steps.losses == expected.steps.losses


def test_what_is_reported_has_the_cause_and_nothing_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reported: list[dict[str, Any]] = []
    monkeypatch.setattr(tune, "report", reported.append)
    digits = load_digits()
    lossy = mlp(depth=50, width=64, weight_variance=0.1)
    verdict = probe_and_report(lossy, digits.train, metric=["score", "other"])
    assert verdict.trainable is False
    [result] = reported
    assert math.isnan(result["score"])
    assert math.isnan(result["other"])
    known = result["recent_prune"]
    assert tuple(known) == SUMMARY
    assert known["cause"] == str(verdict.cause)
    assert known["loss_after"] is None  # no steps were made


def test_a_trial_whose_first_steps_raise_is_kept_and_reports_nothing(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bad_loss(output: Tensor, target: Tensor) -> Tensor:
        raise FloatingPointError("loss, as told")

    reported: list[dict[str, Any]] = []
    monkeypatch.setattr(tune, "report", reported.append)
    digits = load_digits()
    training = Training(bad_loss, lambda p: torch.optim.SGD(p, 0.1))
    batches = (digits.train, digits.train_labels)
    with caplog.at_level(logging.WARNING, logger="ray"):
        verdict = probe_and_report(mlp(), batches, metric="score", training=training)
    assert verdict.trainable
    assert verdict.violation == 0.0
    assert verdict.reason.startswith("It could not be judged: FloatingPointError: loss, as told (")
    assert reported == []
    [message] = caplog.messages
    assert message.startswith("The probe failed, so the trial is kept unjudged: FloatingPointErr")


def test_what_is_wrong_with_the_call_is_raised() -> None:
    digits = load_digits()
    other = Training(cross_entropy, torch.optim.SGD(mlp().parameters(), 0.1))
    batches = (digits.train, digits.train_labels)
    with pytest.raises(ValueError, match="`optimizer`"):
        probe_and_report(mlp(), batches, metric="score", training=other)
    with pytest.raises(ValueError, match="`inputs` must hold at least 16 samples, but got 3"):
        probe_and_report(mlp(), digits.train[:3], metric="score")


def test_what_is_not_seen_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    say_what_is_not_seen.cache_clear()
    digits = load_digits()
    with caplog.at_level(logging.INFO, logger="ray"):
        for _ in range(2):
            probe_and_report(mlp(), digits.train, metric="score")
    [message] = caplog.messages
    assert message.startswith("probe_and_report without `training` looks at the initialization")
