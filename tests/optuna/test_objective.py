from __future__ import annotations

import json
import warnings

import optuna
import pytest
import torch
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.trial import FixedTrial, Trial, TrialState
from torch.nn.functional import cross_entropy

from recent_prune.optuna import ReconstructionEntropyPruner, attributes, probe_trial
from recent_prune.probe import Backward, ProbeResult, Ridge, probe
from recent_prune.rules import RetainedInformationRule, SaturationRule, Verdict
from tests.networks import mlp
from tests.optuna.studies import DIGITS, build, condemned

GOOD = {"depth": 3, "weight_variance": 1.76}
BAD = {"depth": 24, "weight_variance": 0.1}


def new_study(**arguments: object) -> optuna.Study:
    return optuna.create_study(pruner=ReconstructionEntropyPruner(), **arguments)  # type: ignore[arg-type]


def test_stores_scalars_reason_and_profile() -> None:
    trial = new_study().ask()
    model = mlp(depth=3)
    verdict = probe_trial(trial, model, DIGITS.train)
    result = probe(model, DIGITS.train)
    attrs = trial.user_attrs
    assert verdict == RetainedInformationRule()(result)
    assert attrs[attributes.TRAINABLE] is verdict.trainable is True
    assert attrs[attributes.VIOLATION] == verdict.violation <= 0
    assert attrs[attributes.REASON] == verdict.reason
    assert attrs[attributes.RETAINED] == result.retained[-1]
    assert attrs[attributes.CUTOFF] == result.cutoff
    assert attrs[attributes.DEPTH] == 3
    assert attrs[attributes.SECONDS] > 0
    assert attrs[attributes.PROFILE]["layer"] == [1, 2, 3]
    assert attrs[attributes.PROFILE]["retained"] == pytest.approx(result.retained, rel=1e-3)
    assert trial.constraints == {"recent_prune": verdict.violation}


def test_attributes_stay_small_json_for_deep_networks_and_infinite_activations() -> None:
    trial = new_study().ask()
    model = mlp(depth=300, activation="relu", weight_variance=30.0)
    probe_trial(trial, model, DIGITS.train)
    text = json.dumps(trial.user_attrs, allow_nan=False)
    assert len(text) < 4096
    profile = trial.user_attrs[attributes.PROFILE]
    assert len(profile["layer"]) == 64
    assert profile["layer"][0] == 1
    assert profile["layer"][-1] == 300
    assert profile["relative_entropy"][-1] is None
    assert trial.user_attrs[attributes.VIOLATION] == 1.0


BACKWARD = Backward(cross_entropy, DIGITS.train_labels, learning_rate=0.1)


def test_gradients_are_stored_where_asked_for() -> None:
    trial, plain = new_study().ask(), new_study().ask()
    model = mlp(depth=3)
    found = probe(model, DIGITS.train, backward=BACKWARD).gradients
    assert found is not None
    assert found.update_ratio is not None
    with_gradients = probe_trial(trial, model, DIGITS.train, backward=BACKWARD)
    stored = trial.user_attrs[attributes.GRADIENTS]
    assert set(stored) == {"layer", "gradient_rms", "update_ratio", "loss"}
    assert stored["layer"] == [1, 2, 3, 4]  # the head included
    assert stored["gradient_rms"] == pytest.approx(found.gradient_rms, rel=1e-3)
    assert stored["update_ratio"] == pytest.approx(found.update_ratio, rel=1e-3)
    assert stored["loss"] == pytest.approx(found.loss, rel=1e-3)
    assert probe_trial(plain, model, DIGITS.train) == with_gradients
    assert set(trial.user_attrs) - set(plain.user_attrs) == {attributes.GRADIENTS}


def test_without_a_learning_rate_no_ratio_is_stored() -> None:
    trial = new_study().ask()
    backward = Backward(cross_entropy, DIGITS.train_labels)
    probe_trial(trial, mlp(depth=3), DIGITS.train, backward=backward)
    assert set(trial.user_attrs[attributes.GRADIENTS]) == {"layer", "gradient_rms", "loss"}


@pytest.mark.parametrize("weight_variance", [0.05, 5.0])
def test_gradients_of_deep_networks_stay_small_json(weight_variance: float) -> None:
    trial = new_study().ask()
    model = mlp(depth=150, weight_variance=weight_variance).double()
    data = DIGITS.train.double()
    probe_trial(trial, model, data, backward=BACKWARD)
    stored = trial.user_attrs[attributes.GRADIENTS]
    assert 1024 < len(json.dumps(stored, allow_nan=False)) < 2048
    assert len(stored["layer"]) == len(stored["gradient_rms"]) == len(stored["update_ratio"]) == 64
    assert (stored["layer"][0], stored["layer"][-1]) == (1, 151)


def test_gradients_that_are_not_finite_are_stored_as_null() -> None:
    trial = new_study().ask()
    model = mlp(depth=5, activation="relu", weight_variance=1e30)
    probe_trial(trial, model, DIGITS.train, backward=BACKWARD)
    stored = trial.user_attrs[attributes.GRADIENTS]
    json.dumps(stored, allow_nan=False)
    assert stored["loss"] is None
    assert None in stored["gradient_rms"]


def test_a_rule_may_judge_by_gradients() -> None:
    def rule(result: ProbeResult) -> Verdict:
        assert result.gradients is not None
        arrives = result.gradients.gradient_rms[0] > 1e-6
        return Verdict(arrives, 0.0 if arrives else 1.0, "By the first gradient.")

    def trainable(weight_variance: float) -> bool:
        model = mlp(depth=24, weight_variance=weight_variance)
        trial = new_study().ask()
        return probe_trial(trial, model, DIGITS.train, rule=rule, backward=BACKWARD).trainable

    assert trainable(1.76)
    assert not trainable(0.1)


def test_the_rule_is_the_argument_or_the_pruner_or_the_default() -> None:
    model = mlp(depth=3)
    strict = RetainedInformationRule(min_retained=0.999)
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
    assert "of the input is retained at 'tanh24'" in caplog.text


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
        assert len(set(violations)) == len(violations)  # graded: no two are tied
        dead[type(sampler).__name__] = sum(t.number >= 20 for t in condemned(study))
    assert dead["TPESampler"] < dead["RandomSampler"] / 2


def test_errors_of_the_probe_reach_the_user_and_leave_no_verdict() -> None:
    trial = new_study().ask()
    with pytest.raises(ValueError, match="at least 16 samples, but got 3"):
        probe_trial(trial, mlp(), DIGITS.train[:3])
    with pytest.raises(ValueError, match="`backward` needs labels"):
        probe_trial(trial, mlp(), DIGITS.train, backward=Backward(cross_entropy))
    assert trial.user_attrs == {}
    assert trial.constraints == {}


def test_refuses_the_class_of_a_rule() -> None:
    with pytest.raises(TypeError, match=r"`rule` must be a rule, but got the class: Saturation"):
        probe_trial(new_study().ask(), mlp(), DIGITS.train, rule=SaturationRule)  # type: ignore[arg-type]
