from __future__ import annotations

import json
from typing import Any

import optuna
import pytest
import torch
from optuna.trial import Trial
from torch import nn

import recent_prune as rp
from recent_prune.optuna import (
    attributes,
    preflight_trial,
    probe_trial,
)
from recent_prune.optuna import preflight as preflight_
from recent_prune.preflight import Estimate
from recent_prune.report import StudyReport, trials_table
from recent_prune.rules import Cause, Verdict
from tests.networks import mlp
from tests.optuna.limited_study import BATCHES, judged, new_study, training
from tests.optuna.studies import DIGITS


def test_what_does_not_fit_is_condemned_and_not_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "recent_prune.optuna.objective.ready", lambda *_, **__: pytest.fail("probed")
    )
    trial = new_study().ask()
    verdict = judged(trial, mlp(depth=3), rp.Limits(memory=1000))
    assert verdict.cause == Cause.TOO_LARGE
    assert trial.should_prune()
    known = trial.user_attrs
    assert known[attributes.CAUSE] == "too_large"
    assert known[attributes.TRAINABLE] is False
    assert known[attributes.REASON] == verdict.reason
    assert known[attributes.VIOLATION] == verdict.violation
    assert trial.constraints == {attributes.CONSTRAINT: verdict.violation}
    told = known[attributes.PREFLIGHT]
    assert told["capacity"] == 1000 < told["memory"]
    assert (told["batch"], told["method"], told["trial"]) == (64, "traced", trial.number)
    assert told["step_seconds"] is None
    assert len(json.dumps(known, allow_nan=False)) < 2048


def test_what_fits_is_probed_and_its_steps_tell_the_time() -> None:
    trial = new_study().ask()
    verdict = judged(trial, mlp(depth=3), rp.Limits(memory=1e9, seconds=1e6), budget=100)
    assert verdict.trainable
    assert verdict.cause is None
    told = trial.user_attrs[attributes.PREFLIGHT]
    assert told["training_seconds"] == pytest.approx(100 * told["step_seconds"])
    assert told["memory"] == rp.preflight(mlp(depth=3), BATCHES, training()).memory.value
    assert trial.user_attrs[attributes.LOSS_AFTER] is not None
    assert trial.constraints == {attributes.CONSTRAINT: verdict.violation}


def test_what_cannot_end_in_time_is_condemned_after_its_steps() -> None:
    trial = new_study().ask()
    verdict = judged(trial, mlp(depth=3), rp.Limits(seconds=1e-6), budget=100)
    assert verdict.cause == Cause.TOO_SLOW
    assert trial.should_prune()
    assert trial.user_attrs[attributes.CAUSE] == "too_slow"
    assert trial.user_attrs[attributes.PREFLIGHT]["training_seconds"] > 1e-6


def test_a_condemned_trial_stays_condemned_for_its_own_cause() -> None:
    def rule(result: rp.ProbeResult) -> Verdict:
        return Verdict(False, 0.5, "Dead.", Cause.DEAD)

    limits = rp.Limits(seconds=1e-6)
    given: Any = {"training": training(budget=9, steps=3), "preflight": limits, "rule": rule}
    assert probe_trial(new_study().ask(), mlp(depth=3), BATCHES, **given).cause == Cause.DEAD


def test_a_preflight_that_fails_condemns_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("no fake kernel\nfor this")

    monkeypatch.setattr(preflight_, "preflight", fails)
    trial = new_study().ask()
    with pytest.warns(UserWarning, match="The preflight failed.* RuntimeError: no fake kernel for"):
        verdict = judged(trial, mlp(depth=3), rp.Limits(memory=1000))
    assert verdict.trainable
    told = trial.user_attrs[attributes.PREFLIGHT]
    assert told == {"fault": "RuntimeError: no fake kernel for this", "trial": trial.number}
    assert trial.user_attrs[attributes.RETAINED] > 0  # and it was probed


def test_a_probe_that_fails_leaves_the_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    class Once(nn.Module):
        """Fails with real values alone."""

        def __init__(self) -> None:
            super().__init__()
            self.body = mlp(depth=2)

        def forward(self, x: torch.Tensor) -> Any:
            if type(x) is torch.Tensor:
                raise RuntimeError("real")
            return self.body(x)

    trial = new_study().ask()
    with pytest.warns(UserWarning, match="The probe failed"):
        assert judged(trial, Once(), rp.Limits(memory=1e9)).trainable
    assert trial.user_attrs[attributes.PREFLIGHT]["memory"] > 0


def test_a_device_of_which_nothing_is_known_warns() -> None:
    trial = new_study().ask()
    with pytest.warns(UserWarning, match="The memory of a cuda device is not known here"):
        verdict = preflight_trial(
            trial, lambda: mlp(depth=2), BATCHES, training=training(), device="cuda"
        )
    assert verdict.trainable


def test_before_the_model_is_built() -> None:
    def build() -> nn.Module:
        wide = 3_000_000
        return nn.Sequential(nn.Flatten(), nn.Linear(64, wide), nn.Linear(wide, 10))

    trial = new_study().ask()
    limits = rp.Limits(memory=1e9)
    verdict = preflight_trial(trial, build, BATCHES, training=training(), limits=limits)
    assert verdict.cause == Cause.TOO_LARGE
    assert trial.should_prune()


def test_one_that_fits_is_not_taken_for_probed() -> None:
    trial = new_study().ask()
    verdict = preflight_trial(trial, lambda: mlp(depth=2), BATCHES, training=training())
    assert verdict.trainable
    assert set(trial.user_attrs) == {attributes.PREFLIGHT}
    assert not trial.constraints


def test_arguments() -> None:
    trial = new_study().ask()
    with pytest.raises(TypeError, match="`preflight` must be Limits, but got int"):
        probe_trial(trial, mlp(depth=2), BATCHES, training=training(), preflight=8)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="so `training` must be given, too"):
        probe_trial(trial, mlp(depth=2), DIGITS.train, preflight=rp.Limits())


def test_another_pruner_warns() -> None:
    trial = optuna.create_study().ask()
    with pytest.warns(UserWarning, match="should_prune.. will not say so"):
        judged(trial, mlp(depth=2), rp.Limits(memory=1000))


def test_corrected_estimates_are_above_what_was_not_enough() -> None:
    memory = Estimate(100.0, 85.0, 125.0)
    assert preflight_._above(memory, 0.5) == memory
    assert preflight_._above(memory, 0.95) == Estimate(100.0, 95.0, 125.0)
    assert preflight_._above(memory, 1.2) == Estimate(120.0, 120.0, 150.0)


def test_report_and_table_know_the_causes() -> None:
    study = new_study()

    def objective(trial: Trial) -> float:
        depth = trial.suggest_int("depth", 1, 3)
        judged(trial, mlp(depth=depth), rp.Limits(memory=1000 if depth > 1 else 1e9))
        if trial.should_prune():
            raise optuna.TrialPruned
        return float(depth)

    study.enqueue_trial({"depth": 1})
    study.enqueue_trial({"depth": 3})
    study.optimize(objective, n_trials=2)
    table = trials_table(study)
    assert table["cause"].tolist()[1] == "too_large"
    assert "too_large" in str(StudyReport.of(study).summary)
