"""A certified rule behind the scheduler: watching, calibration, pruning, audits."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from ray import tune
from ray.tune import Result, ResultGrid, Stopper
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler, HyperBandScheduler, TrialScheduler
from torch import nn

from recent_prune.ray import (
    ReconstructionEntropyScheduler,
    audit,
    calibrated,
    probe_and_report,
    probed_trials,
)
from recent_prune.ray.gate import Pool
from recent_prune.ray.judging.certified import Judge, past_trials
from recent_prune.ray.judging.ending import Ending
from recent_prune.ray.judging.outcome import Outcome
from recent_prune.rules.certified import CertifiedRule, FittedScore, PastTrial
from recent_prune.rules.certified.learned_score import learn_score
from tests.ray.simulated_actors import Log, Report
from tests.ray.simulation import SimulatedGate, SimulatedPool, simulated, tuner
from tests.ray.sweeps import pbt

pytestmark = pytest.mark.usefixtures("local_ray")

RULE = CertifiedRule(better_than=0.7, max_false_prune_rate=0.2, confidence=0.8, audit_share=0.2)


class FeaturePool(SimulatedPool):
    """What a probe actor gives under a certified rule: features, and no verdict of its own."""

    def poll(
        self, wait_s: float = 0.0, *, patient: bool = False, hold_back: bool = False
    ) -> list[Outcome]:
        configs = {candidate.trial_id: candidate.config for candidate in self._queue}
        return [
            outcome
            if outcome.fault
            else replace(
                outcome,
                features={"score": configs[outcome.trial_id]["quality"]},
                parameters={"lr": configs[outcome.trial_id]["lr"]},
            )
            for outcome in super().poll(wait_s)
        ]


class CertifiedGate(ReconstructionEntropyScheduler):
    """The scheduler with simulated probes whose score is the quality."""

    def __init__(self, rule: CertifiedRule, wrapped: TrialScheduler | None = None) -> None:
        super().__init__(lambda config: nn.Identity(), torch.rand(16, 4), rule, wrapped)

    def _make_pool(self) -> Pool | None:
        return FeaturePool()


def final(config: dict[str, Any], iteration: int) -> dict[str, Any]:
    return {"score": config["quality"] * iteration / 3, "done": iteration >= 3}


LOGS: list[Log] = []
"""Of each run, the last one last."""


def run(path: Path, rule: CertifiedRule, count: int = 60, **options: Any) -> ResultGrid:
    space = {"quality": tune.uniform(0, 1), "lr": tune.loguniform(1e-4, 1e-1)}
    wrapped = options.pop("wrapped", None)
    report, slots = options.pop("report", final), options.pop("slots", 4)
    with simulated(slots, report=report, seed=options.pop("seed", 0)) as log:
        gate = CertifiedGate(rule, wrapped)
        results = tuner(path, gate, space, count, **options).fit()
    assert results.num_errors == 0
    LOGS.append(log)
    return results


def rows(results: ResultGrid) -> list[Result]:
    return [results[index] for index in range(len(results))]


def qualities(results: ResultGrid) -> list[float]:
    return [found.config["quality"] for found in rows(results) if found.config]


def good(results: ResultGrid) -> int:
    return int(audit(results).summary.set_index("figure")["value"]["good"])


@dataclass
class Stop(Stopper):
    """Stops the whole run after so many results."""

    after: int
    seen: int = 0

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        self.seen += 1
        return False

    def stop_all(self) -> bool:
        return self.seen >= self.after


def started(results: ResultGrid) -> list[bool]:
    return [bool(found.metrics and found.metrics["training_iteration"]) for found in rows(results)]


class TestRun:
    def test_watches_then_prunes_and_audits(self, tmp_path: Path) -> None:
        watched = run(tmp_path / "watched", RULE)
        assert all(started(watched))
        assert audit(watched).summary.set_index("figure")["value"]["condemned"] == 0
        reasons = probed_trials(watched)["reason"]
        assert reasons.str.contains("Watching: nothing is fitted").all()

        fitted = calibrated(RULE, watched)
        assert fitted.fitted is not None
        assert fitted.settings() == RULE.settings()
        pruned = run(tmp_path / "pruned", fitted, count=80, seed=1)
        found = audit(pruned)
        table = found.over_time
        condemned = table[table["condemned"]]
        assert set(condemned["ran"]) == {True, False}
        assert started(pruned).count(False) == (~condemned["ran"]).sum()
        # The bad ones are condemned, not those that happen to come first.
        values = [f.metrics["config"]["quality"] for f in rows(pruned) if f.metrics]
        lost = [v for v, ran in zip(values, started(pruned), strict=True) if not ran]
        assert max(lost) < 0.8
        value = found.summary.set_index("figure")["value"]
        assert value["trials"] == value["probed"] == 80
        assert value["condemned"] == value["of these pruned"] + value["of these run as audit"]
        ran = [v for v, ran in zip(values, started(pruned), strict=True) if ran]
        assert value["good"] == sum(v >= 0.7 for v in ran)
        # Audits that ran at the time of a draw may have been good: the bound has that afterwards.
        assert table["rate_at_most"].max() <= 0.3
        assert float(value["seconds saved"]) == pytest.approx(3.0 * value["of these pruned"])
        assert float(value["seconds spent on probes"]) == pytest.approx(0.8)

    def test_minimizes_where_the_wrapped_scheduler_does(self, tmp_path: Path) -> None:
        wrapped = ASHAScheduler(metric="score", mode="min", max_t=3, grace_period=3)
        rule = replace(RULE, better_than=0.3)
        results = run(tmp_path, rule, 20, wrapped=wrapped, metric=None)
        assert good(results) == sum(quality <= 0.3 for quality in qualities(results)) > 0

    @pytest.mark.parametrize(
        ("metric", "report"),
        [
            ("score", lambda c, i: {"score": np.float32(c["quality"] * i / 3), "done": i >= 3}),
            ("val/acc", lambda c, i: {"val": {"acc": c["quality"] * i / 3}, "done": i >= 3}),
            ("score", lambda c, i: {"score": torch.tensor(c["quality"]), "done": i >= 3}),
        ],
        ids=["NumPy's", "nested", "a tensor"],
    )
    def test_metrics_that_are_no_plain_floats(
        self, metric: str, report: Report, tmp_path: Path
    ) -> None:
        results = run(tmp_path, RULE, 20, metric=metric, report=report)
        assert good(results) == sum(quality >= 0.7 for quality in qualities(results)) > 0

    def test_a_run_that_is_stopped(self, tmp_path: Path) -> None:
        results = run(tmp_path, RULE, 20, run={"stop": Stop(after=20)})
        assert len(audit(results).over_time) == 20
        assert good(results) < sum(quality >= 0.7 for quality in qualities(results))

    def test_trials_that_hyperband_stops_have_ended(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        def constant(config: dict[str, Any], iteration: int) -> dict[str, Any]:
            return {"score": config["quality"], "done": iteration >= 9}

        results = run(tmp_path, RULE, 24, wrapped=HyperBandScheduler(max_t=9), report=constant)
        assert good(results) == sum(quality >= 0.7 for quality in qualities(results))
        assert "HyperBandScheduler wants all trials at once" in caplog.text

    @pytest.mark.parametrize("slots", [4, 16])
    def test_draws_leave_no_slot_empty(self, slots: int, tmp_path: Path) -> None:
        nobody = FittedScore(learn_score([], [], []), 1e9, 1e9, 0, "maximize")
        rule = replace(RULE, fitted=nobody, better_than=1e9)
        run(tmp_path, rule, 64, slots=slots)  # all are condemned, and all are drawn to run
        ideal = 64 / slots * 7.0  # seconds of a trial, its worker's start included
        assert LOGS[-1].worker_starts == 64
        assert LOGS[-1].makespan_s < 1.6 * ideal

    def test_without_a_metric(self, tmp_path: Path) -> None:
        with pytest.raises(
            ValueError, match="needs one metric and its mode, in TuneConfig or of the wrapped"
        ):
            run(tmp_path, RULE, 10, metric=None)

    def test_trials_of_an_earlier_run_with_the_same_name_do_not_count(self, tmp_path: Path) -> None:
        run(tmp_path, RULE, 10)
        again = run(tmp_path, RULE, 5, seed=1)
        assert len(audit(again).over_time) == 5


class TestCalibrated:
    def test_too_few_trials_or_no_runs(self, tmp_path: Path) -> None:
        few = run(tmp_path, RULE, 3)
        with pytest.raises(ValueError, match="cannot calibrate the rule: about "):
            calibrated(RULE, few)
        with pytest.raises(ValueError, match=r"at least one, all of one metric .*, but got \[\]"):
            calibrated(RULE)

    def test_another_rule(self, tmp_path: Path) -> None:
        with simulated(report=final):
            space = {"quality": 0.5, "lr": 0.1}
            results = tuner(tmp_path, SimulatedGate(), space, 2).fit()
        with pytest.raises(ValueError, match=r"nor a CertifiedRule decided on trials in .*run"):
            calibrated(RULE, results)
        with pytest.raises(ValueError, match=r"nor a CertifiedRule decided on trials in .*run"):
            audit(results)


class TestJudge:
    def test_each_trial_is_in_the_past_of_the_next(self) -> None:
        undecided: dict[str, Any] = {
            "seconds": 0.1,
            "trainable": True,
            "violation": -0.0,
            "reason": "",
        }
        first, second = (
            Outcome(name, {**undecided}, features={"score": 1.0}) for name in ("a", "b")
        )
        past: list[PastTrial] = []
        judged = [Judge(RULE, "score")(outcome, past) for outcome in (first, second)]
        assert [outcome.trial_id for outcome in judged] == ["a", "b"]
        assert [trial.number for trial in past] == [0, 1]
        assert not any(trial.ended for trial in past)
        known = {outcome.trial_id: outcome for outcome in judged}
        endings = {"a": Ending(), "b": Ending(True, 0.5, 1.0)}
        assert Judge(RULE, "score").past(known, endings)[1].value == 0.5

    def test_what_could_not_be_probed_or_is_not_finite_has_no_record(self) -> None:
        fault = Outcome("a", fault="RuntimeError: as told")
        nonfinite = Outcome("b", {"trainable": False, "violation": 1.0, "reason": "NaN"})
        past: list[PastTrial] = []
        for outcome in (fault, nonfinite):
            assert Judge(RULE, "score")(outcome, past) == outcome
        assert past == []
        known = {"a": fault, "b": nonfinite}
        assert past_trials(known, {"a": Ending(), "b": Ending()}) == {}


@pytest.mark.parametrize(
    ("result", "status", "expected"),
    [
        ({"score": 0.5, "time_total_s": 2.0}, Trial.TERMINATED, Ending(True, 0.5, 2.0)),
        ({"score": 0.5, "time_total_s": 2.0}, Trial.RUNNING, Ending(False, None, 2.0)),
        ({"score": 0.5, "time_total_s": 2.0}, Trial.ERROR, Ending(True, None, 2.0)),
        ({"score": math.nan}, Trial.TERMINATED, Ending(True, None, 0.0)),
        ({"score": "0.5"}, Trial.TERMINATED, Ending(True, None, 0.0)),
        ({"score": 10**400}, Trial.TERMINATED, Ending(True, None, 0.0)),
        (None, Trial.TERMINATED, Ending(True, None, 0.0)),
    ],
)
def test_ending(result: dict[str, Any] | None, status: str, expected: Ending) -> None:
    trial: Any = SimpleNamespace(last_result=result, status=status)
    assert Ending.of(trial, "score") == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "CertifiedRule needs `build_model` and `inputs`"),
        (
            {"build_model": len, "inputs": torch.zeros(2, 2), "wrapped": pbt()},
            "cannot be used with population based training",
        ),
    ],
)
def test_where_it_cannot_work(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        ReconstructionEntropyScheduler(rule=RULE, **options)


def test_calibrated_for_the_other_direction(tmp_path: Path) -> None:
    fitted = FittedScore(learn_score([], [], []), 0.0, 0.3, 20, "minimize")
    with pytest.raises(ValueError, match=r"was calibrated to minimize, but .* 'maximize'"):
        run(tmp_path, replace(RULE, fitted=fitted), 3)


def test_not_within_a_trial() -> None:
    with pytest.raises(TypeError, match="no CertifiedRule, which the scheduler takes"):
        probe_and_report(None, None, metric="a", rule=RULE)  # type: ignore[arg-type]
