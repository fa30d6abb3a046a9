"""A certified rule behind the scheduler: watching, calibration, pruning, audits."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ray import tune
from ray.tune import Result, ResultGrid
from ray.tune.schedulers import ASHAScheduler

from recent_prune.ray import (
    ReconstructionEntropyScheduler,
    audit,
    calibrated,
    probe_and_report,
    probed_trials,
)
from recent_prune.ray.certified import Ending, Judge, past_trials
from recent_prune.ray.gate import Pool
from recent_prune.ray.probing import Outcome
from recent_prune.rules.certified import CertifiedRule, PastTrial
from tests.ray.simulation import SimulatedGate, SimulatedPool, simulated, tuner

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

    def _make_pool(self) -> Pool | None:
        return FeaturePool()


def final(config: dict[str, Any], iteration: int) -> dict[str, Any]:
    return {"score": config["quality"] * iteration / 3, "done": iteration >= 3}


def run(path: Path, rule: CertifiedRule, count: int = 60, **options: Any) -> ResultGrid:
    space = {"quality": tune.uniform(0, 1), "lr": tune.loguniform(1e-4, 1e-1)}
    wrapped = options.pop("wrapped", None)
    with simulated(report=final, seed=options.pop("seed", 0)):
        gate = CertifiedGate(rule=rule, wrapped=wrapped)
        results = tuner(path, gate, space, count, **options).fit()
    assert results.num_errors == 0
    return results


def rows(results: ResultGrid) -> list[Result]:
    return [results[index] for index in range(len(results))]


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
        assert max(lost) < 0.7
        value = found.summary.set_index("figure")["value"]
        assert value["trials"] == value["probed"] == 80
        assert value["condemned"] == value["of these pruned"] + value["of these run as audit"]
        assert value["good"] == sum(v >= 0.7 for v in values)
        assert table["rate_at_most"].max() <= 0.2
        assert float(value["seconds saved"]) == pytest.approx(3.0 * value["of these pruned"])
        assert float(value["seconds spent on probes"]) == pytest.approx(0.8)

    def test_minimizes_where_the_run_does(self, tmp_path: Path) -> None:
        rule = replace(RULE, better_than=0.3)
        with simulated(report=final):
            space = {"quality": tune.uniform(0, 1), "lr": 0.1}
            gate = CertifiedGate(rule=rule)
            options = {"metric": None, "time_budget_s": None}
            job = tuner(tmp_path, gate, space, 30, **options)
            job._local_tuner._tune_config.metric = "score"  # type: ignore[union-attr]
            job._local_tuner._tune_config.mode = "min"  # type: ignore[union-attr]
            results = job.fit()
        qualities = [found.metrics["config"]["quality"] for found in rows(results) if found.metrics]
        value = audit(results).summary.set_index("figure")["value"]
        assert value["good"] == sum(quality <= 0.3 for quality in qualities) > 0

    def test_metric_of_the_wrapped_scheduler(self, tmp_path: Path) -> None:
        wrapped = ASHAScheduler(metric="score", mode="max", max_t=3, grace_period=3)
        results = run(tmp_path, RULE, 10, wrapped=wrapped, metric=None)
        assert len(audit(results).over_time) == 10

    def test_without_a_metric(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="needs one metric, in TuneConfig or of the wrapped"):
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
        with pytest.raises(ValueError, match=r"No CertifiedRule judged the trials in .*run"):
            calibrated(RULE, results)
        with pytest.raises(ValueError, match=r"No CertifiedRule judged the trials in .*run"):
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
    ("result", "ended", "failed", "expected"),
    [
        ({"score": 0.5, "time_total_s": 2.0}, True, False, Ending(True, 0.5, 2.0)),
        ({"score": 0.5, "time_total_s": 2.0}, False, False, Ending(False, None, 2.0)),
        ({"score": 0.5, "time_total_s": 2.0}, True, True, Ending(True, None, 2.0)),
        ({"score": math.nan}, True, False, Ending(True, None, 0.0)),
        ({}, True, False, Ending(True, None, 0.0)),
    ],
)
def test_ending(result: dict[str, Any], ended: bool, failed: bool, expected: Ending) -> None:
    assert Ending.of(result, "score", ended=ended, failed=failed) == expected


def test_not_within_a_trial() -> None:
    with pytest.raises(TypeError, match="no CertifiedRule, which the scheduler takes"):
        probe_and_report(None, None, metric="a", rule=RULE)  # type: ignore[arg-type]
