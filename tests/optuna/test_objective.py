from __future__ import annotations

import warnings
from typing import Any

import optuna
import pytest
import torch
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.trial import FixedTrial, Trial, TrialState

from recent_prune.optuna import ReconstructionEntropyPruner, attributes, probe_trial
from recent_prune.optuna import objective as objective_
from recent_prune.probe import Ridge, probe
from recent_prune.rules import (
    SaturationRule,
    TrainabilityRule,
)
from tests.networks import mlp
from tests.optuna.studies import DIGITS, build, condemned
from tests.optuna.trials import BAD, BATCHES, TRAINING, new_study


def test_the_rule_is_the_argument_or_the_pruner_or_the_default() -> None:
    model = mlp(depth=3)
    strict = TrainabilityRule(min_probability=1 - 1e-15)
    assert probe_trial(optuna.create_study().ask(), model, DIGITS.train).trainable
    study = optuna.create_study(pruner=ReconstructionEntropyPruner(strict))
    assert not probe_trial(study.ask(), model, DIGITS.train).trainable
    assert probe_trial(study.ask(), model, DIGITS.train, rule=SaturationRule()).trainable


def test_a_condemned_trial_that_nobody_prunes_warns() -> None:
    """Such as in a second process that forgot the pruner."""
    study = optuna.create_study(pruner=optuna.pruners.MedianPruner())
    with pytest.warns(UserWarning, match=r"study's pruner is MedianPruner: give Reconstruction"):
        probe_trial(study.ask(), mlp(depth=24, weight_variance=0.1), DIGITS.train)


def test_estimator_and_layers_are_passed_on() -> None:
    trial = new_study().ask()
    model = mlp(depth=3)
    probe_trial(trial, model, DIGITS.train, estimator=Ridge(samples=64), layers=["tanh1"])
    expected = probe(model, DIGITS.train, estimator=Ridge(samples=64), layers=["tanh1"])
    assert trial.user_attrs[attributes.RETAINED] == expected.retained[-1]
    assert trial.user_attrs[attributes.DEPTH] == 1


def test_fixed_trials_can_be_probed() -> None:
    trial = FixedTrial({})
    assert not probe_trial(trial, mlp(depth=24, weight_variance=0.1), DIGITS.train).trainable
    assert trial.user_attrs[attributes.TRAINABLE] is False


def test_the_reason_is_logged_by_the_study(caplog: pytest.LogCaptureFixture) -> None:
    optuna.logging.set_verbosity(optuna.logging.INFO)
    optuna.logging.enable_propagation()
    study = new_study()
    study.enqueue_trial(BAD)

    def objective(trial: Trial) -> float:
        verdict = probe_trial(trial, build(trial), DIGITS.train)
        if trial.should_prune():
            raise optuna.TrialPruned(verdict.reason)
        return 1.0

    study.optimize(objective, n_trials=1)
    optuna.logging.disable_propagation()
    assert f"Trial 0 pruned. {study.trials[0].user_attrs[attributes.REASON]}" in caplog.text


def test_multi_objective_studies_prune_by_the_verdict() -> None:
    def objective(trial: Trial) -> tuple[float, float]:
        model = build(trial)
        verdict = probe_trial(trial, model, DIGITS.train)
        if not verdict.trainable:
            raise optuna.TrialPruned(verdict.reason)
        return torch.rand(()).item(), sum(p.numel() for p in model.parameters())

    study = optuna.create_study(
        directions=["maximize", "minimize"],
        sampler=optuna.samplers.NSGAIISampler(seed=0, population_size=4),
    )
    study.optimize(objective, n_trials=16)
    dead = condemned(study)
    assert 0 < len(dead) < 16
    assert all(t.state == TrialState.PRUNED for t in dead)
    assert not {t.number for t in dead} & {t.number for t in study.best_trials}


@pytest.mark.parametrize("storage", ["memory", "sqlite"])
def test_a_retried_trial_is_judged_anew(storage: str, tmp_path: object) -> None:
    """The retry copies the attributes and the constraint of the trial that died."""
    url = f"sqlite:///{tmp_path}/study.db" if storage == "sqlite" else None
    study = new_study(storage=url)
    first = study.ask()
    assert not probe_trial(first, mlp(depth=24, weight_variance=0.1), DIGITS.train).trainable
    study.tell(first, state=TrialState.FAIL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        RetryHeartbeatStaleTrialCallback()(study, study.trials[0])

    second = study.ask()
    assert second.number == 1
    assert second.user_attrs[attributes.TRAINABLE] is False  # the copy
    assert not second.should_prune()  # but not its own
    assert probe_trial(second, mlp(depth=3), DIGITS.train).trainable
    assert not second.should_prune()
    study.tell(second, 0.5)
    assert study.trials[1].constraints["recent_prune"] <= 0
    assert study.best_trial.number == 1


def test_tpe_learns_from_graded_violations() -> None:
    """It keeps away from what was condemned, though no condemned trial has a value."""

    def objective(trial: Trial) -> float:
        verdict = probe_trial(trial, build(trial), DIGITS.train)
        if trial.should_prune():
            raise optuna.TrialPruned(verdict.reason)
        return 1.0

    dead: dict[str, int] = {}
    for sampler in (
        optuna.samplers.TPESampler(seed=0, n_startup_trials=10),
        optuna.samplers.RandomSampler(seed=0),
    ):
        study = optuna.create_study(sampler=sampler, pruner=ReconstructionEntropyPruner())
        study.optimize(objective, n_trials=50)
        violations = [t.constraints["recent_prune"] for t in condemned(study)]
        graded = [violation for violation in violations if violation < 1]
        assert len(set(graded)) == len(graded) > len(violations) / 2  # few are tied
        dead[type(sampler).__name__] = sum(t.number >= 20 for t in condemned(study))
    assert dead["TPESampler"] < dead["RandomSampler"] / 2


class TestWithoutTraining:
    def test_says_once_what_is_not_looked_at(self, caplog: pytest.LogCaptureFixture) -> None:
        objective_._say_what_is_not_seen.cache_clear()
        optuna.logging.set_verbosity(optuna.logging.INFO)
        optuna.logging.enable_propagation()
        study = new_study()
        try:
            probe_trial(study.ask(), mlp(), BATCHES, training=TRAINING)
            assert "training" not in caplog.text
            for _ in range(3):
                probe_trial(study.ask(), mlp(), DIGITS.train)
        finally:
            optuna.logging.disable_propagation()
        told = {id(r): r.getMessage() for r in caplog.records if "`training`" in r.getMessage()}
        (line,) = told.values()
        assert "not at learning rate and optimizer: give training=rp.Training(" in line


class Elsewhere:
    """A trial of another library, of whose study nothing is known."""

    def __init__(self) -> None:
        self._inner = FixedTrial({})

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def test_a_study_that_is_not_known_warns() -> None:
    trial: Any = Elsewhere()
    with pytest.warns(UserWarning, match="study of this Elsewhere is not known, so Trainability"):
        assert probe_trial(trial, mlp(), DIGITS.train).trainable
    probe_trial(trial, mlp(), DIGITS.train, rule=SaturationRule())


def test_refuses_the_class_of_a_rule() -> None:
    with pytest.raises(TypeError, match=r"`rule` must be a rule .*, but got <class .*Saturation"):
        probe_trial(new_study().ask(), mlp(), DIGITS.train, rule=SaturationRule)  # type: ignore[arg-type]


def test_a_rule_that_gives_no_verdict_is_refused_by_name() -> None:
    def lenient(_: object) -> bool:
        return True

    study = optuna.create_study(pruner=ReconstructionEntropyPruner(lenient))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"`rule` must return a recent_prune.Verdict, but .* True"):
        probe_trial(study.ask(), mlp(depth=3), DIGITS.train)
