from __future__ import annotations

import json
import warnings
from typing import Any

import optuna
import pytest
import torch
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.trial import FixedTrial, Trial, TrialState
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from recent_prune.optuna import ReconstructionEntropyPruner, attributes, probe_trial
from recent_prune.optuna import objective as objective_
from recent_prune.probe import FirstSteps, ProbeResult, Ridge, Training, probe
from recent_prune.rules import (
    Cause,
    SaturationRule,
    TrainabilityRule,
    Verdict,
)
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
    assert verdict == TrainabilityRule()(result)
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


BATCHES = (DIGITS.train, DIGITS.train_labels)


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, 0.1)


TRAINING = Training(cross_entropy, sgd, budget=300)


def test_first_steps_are_stored_where_asked_for() -> None:
    trial, plain = new_study().ask(), new_study().ask()
    model = mlp(depth=3)
    found = probe(model, BATCHES, training=TRAINING)
    assert found.steps is not None
    assert found.gradients is not None
    probe_trial(trial, model, BATCHES, training=TRAINING)
    attrs = trial.user_attrs
    assert attrs[attributes.LOSS_BEFORE] == pytest.approx(found.steps.loss_before, rel=1e-3)
    assert attrs[attributes.LOSS_AFTER] == pytest.approx(found.steps.loss_after, rel=1e-3)
    assert attrs[attributes.CONSTANT_LOSS] == pytest.approx(found.steps.constant_loss, rel=1e-3)
    steps, gradients = attrs[attributes.STEPS], attrs[attributes.GRADIENTS]
    assert steps["losses"] == pytest.approx(found.steps.losses, rel=1e-3)
    assert steps["update_ratios"] == pytest.approx(found.steps.update_ratios, rel=1e-3)
    assert (steps["made"], steps["budget"], steps["repeatable"]) == (6, 300, True)
    assert FirstSteps(**steps).loss_after == attrs[attributes.LOSS_AFTER]
    assert gradients["layer"] == [1, 2, 3, 4]  # the head included
    assert gradients["gradient_rms"] == pytest.approx(found.gradients.gradient_rms, rel=1e-3)
    assert gradients["loss"] == pytest.approx(found.gradients.loss, rel=1e-3)
    probe_trial(plain, model, DIGITS.train)
    assert set(attrs) - set(plain.user_attrs) == {attributes.GRADIENTS, attributes.STEPS}
    assert plain.user_attrs[attributes.LOSS_AFTER] is None


@pytest.mark.parametrize("weight_variance", [0.05, 5.0])
def test_first_steps_of_deep_networks_stay_small_json(weight_variance: float) -> None:
    trial = new_study().ask()
    model = mlp(depth=150, weight_variance=weight_variance).double()
    many = Training(cross_entropy, sgd, steps=40, budget=300)
    probe_trial(trial, model, (DIGITS.train.double(), DIGITS.train_labels), training=many)
    for name, lists in (
        (attributes.GRADIENTS, ("layer", "gradient_rms", "update_ratio")),
        (attributes.STEPS, ("update_ratios",)),
    ):
        stored = trial.user_attrs[name]
        assert 1024 < len(json.dumps(stored, allow_nan=False)) < 2048
        assert {len(stored[name]) for name in lists} == {64}
    assert len(trial.user_attrs[attributes.STEPS]["losses"]) == 16
    layers = trial.user_attrs[attributes.GRADIENTS]["layer"]
    assert (layers[0], layers[-1]) == (1, 151)


def test_what_is_not_finite_is_json_too() -> None:
    trial = new_study().ask()
    model = mlp(depth=5, activation="relu", weight_variance=1e30)
    assert not probe_trial(trial, model, BATCHES, training=TRAINING).trainable
    attrs = trial.user_attrs
    json.dumps(attrs, allow_nan=False)
    assert attrs[attributes.CAUSE] == "non-finite"
    assert attrs[attributes.GRADIENTS]["loss"] is None
    assert None in attrs[attributes.GRADIENTS]["gradient_rms"]
    assert attrs[attributes.STEPS]["nonfinite_step"] == 1
    assert attrs[attributes.LOSS_AFTER] is None
    assert attrs[attributes.CONSTANT_LOSS] > 0


def test_a_rule_may_judge_by_the_steps() -> None:
    def rule(result: ProbeResult) -> Verdict:
        assert result.steps is not None
        rises = not result.steps.loss_after < 2 * result.steps.loss_before
        return Verdict(
            not rises,
            float(rises),
            "By its first steps.",
            Cause.DIVERGES if rises else None,
            "Lower the rate. " * 100 if rises else None,
        )

    def judged(rate: float) -> Trial:
        trial = new_study().ask()
        training = Training(cross_entropy, lambda p: torch.optim.SGD(p, rate))
        verdict = probe_trial(trial, mlp(depth=3), BATCHES, rule=rule, training=training)
        assert (
            verdict.trainable is trial.user_attrs[attributes.TRAINABLE] is not trial.should_prune()
        )
        return trial

    low, high = judged(0.01).user_attrs, judged(1000.0).user_attrs
    assert (low[attributes.TRAINABLE], high[attributes.TRAINABLE]) == (True, False)
    assert (low[attributes.CAUSE], high[attributes.CAUSE]) == (None, "diverges")
    assert low[attributes.ADVICE] is None
    assert high[attributes.ADVICE].startswith("Lower the rate.")
    assert len(high[attributes.ADVICE]) == 1000  # of 1,600


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


class Fails(nn.Module):
    """Raises where it is called; has a parameter, so that it can be probed."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.layer, self.error = nn.Linear(64, 64), error

    def forward(self, _: Tensor) -> Tensor:
        raise self.error


class FailsToStep(torch.optim.SGD):
    def step(self, closure: Any = None) -> Any:
        raise RuntimeError("no step\ntoday")


def failing_loss(output: Tensor, target: Tensor) -> Tensor:
    raise ZeroDivisionError("no loss")


def fails(name: str) -> tuple[nn.Module, Training | None]:
    """A trial that fails somewhere once its model runs."""
    if name == "memory":
        return Fails(torch.OutOfMemoryError("CUDA out of memory.")), None
    if name == "forward":
        return nn.Sequential(nn.Flatten(), nn.Linear(63, 10)), None
    if name == "loss":
        return mlp(), Training(failing_loss, sgd)
    if name == "step":
        return mlp(), Training(cross_entropy, lambda p: FailsToStep(p, 0.1))
    return mlp(), Training(cross_entropy, lambda _: torch.optim.SGD(mlp().parameters(), 0.1))


class TestFailedProbe:
    """No trial is condemned for that."""

    @pytest.mark.parametrize(
        ("name", "fault"),
        [
            ("memory", "OutOfMemoryError: CUDA out of memory."),
            ("forward", "RuntimeError: mat1 and mat2 shapes cannot be multiplied"),
            ("loss", "ZeroDivisionError: no loss"),
            ("step", "RuntimeError: no step today"),
            ("optimizer", "ValueError: `optimizer` (SGD) must be over parameters of `model`, but"),
        ],
    )
    def test_keeps_the_trial_and_says_why(self, name: str, fault: str) -> None:
        model, training = fails(name)
        trial = new_study().ask()
        with pytest.warns(UserWarning, match="The probe failed, so the trial is kept") as caught:
            verdict = probe_trial(trial, model, BATCHES, training=training)
        assert [warning.filename for warning in caught] == [__file__]
        attrs = trial.user_attrs
        assert attrs[attributes.FAULT].startswith(fault)
        assert "\n" not in attrs[attributes.FAULT]
        assert attrs[attributes.REASON] == f"It could not be judged: {attrs[attributes.FAULT]}"
        assert verdict == Verdict(True, 0.0, attrs[attributes.REASON])
        assert attrs[attributes.TRAINABLE] is True
        assert attrs[attributes.SECONDS] > 0
        assert trial.constraints == {"recent_prune": 0.0}
        assert not trial.should_prune()

    def test_names_step_and_batch(self) -> None:
        model, training = fails("step")
        trial = new_study().ask()
        with pytest.warns(UserWarning, match="The probe failed"):
            probe_trial(trial, model, BATCHES, training=training)
        fault = trial.user_attrs[attributes.FAULT]
        assert "`optimizer.step()`, for a batch of (64, 1, 8, 8) float32, (64,) int64" in fault
        assert "in first step 1 of 6" in fault

    def test_warns_once_of_the_same(self) -> None:
        study = new_study()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default")
            for _ in range(3):
                probe_trial(study.ask(), fails("forward")[0], DIGITS.train)
        assert len(caught) == 1
        assert all(trial.user_attrs[attributes.FAULT] for trial in study.trials)

    def test_a_long_message_is_cut(self) -> None:
        trial = new_study().ask()
        with pytest.warns(UserWarning, match="The probe failed"):
            probe_trial(trial, Fails(RuntimeError("long " * 1000)), DIGITS.train)
        assert len(trial.user_attrs[attributes.FAULT]) == 1000
        assert len(trial.user_attrs[attributes.REASON]) == 1000

    def test_what_is_wrong_with_the_call_is_raised(self) -> None:
        trial = new_study().ask()
        other = torch.optim.SGD(mlp().parameters(), 0.1)
        calls: list[tuple[type[Exception], str, Any, dict[str, Any]]] = [
            (ValueError, "at least 16 samples, but got 3", DIGITS.train[:3], {}),
            (ValueError, "`loss` needs a target", DIGITS.train, {"training": TRAINING}),
            (ValueError, r"`optimizer` \(SGD\) must be over parameters of `model`", BATCHES,
             {"training": Training(cross_entropy, other)}),
            (TypeError, "`training` must be a Training, but got function", BATCHES,
             {"training": sgd}),
            (TypeError, "`rule` must be a rule, but got 0.5", DIGITS.train, {"rule": 0.5}),
            (ValueError, "`layers` must name modules", DIGITS.train, {"layers": ["tanh9"]}),
            (ValueError, "`estimator` must be", DIGITS.train, {"estimator": "rigde"}),
            (ValueError, "`rtol` must be positive, but got 0", DIGITS.train, {"rtol": 0}),
            (ValueError, "`reconstruct` must be a tensor", DIGITS.train,
             {"reconstruct": DIGITS.train[:1, :, :4]}),
        ]  # fmt: skip
        for kind, message, inputs, arguments in calls:
            with pytest.raises(kind, match=message):
                probe_trial(trial, mlp(), inputs, **arguments)
        assert trial.user_attrs == {}
        assert trial.constraints == {}

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), optuna.TrialPruned("by the model")])
    def test_the_users_own_ends_are_raised(self, error: BaseException) -> None:
        trial = new_study().ask()
        with pytest.raises(type(error)):
            probe_trial(trial, Fails(error), DIGITS.train)
        assert trial.user_attrs == {}

    def test_leaves_nothing_of_the_trial_that_it_retries(self) -> None:
        study = new_study()
        first = study.ask()
        probe_trial(first, mlp(depth=24, weight_variance=0.1), BATCHES, training=TRAINING)
        retried = optuna.create_study(pruner=ReconstructionEntropyPruner())
        retried.enqueue_trial({}, user_attrs=first.user_attrs)
        second = retried.ask()
        with pytest.warns(UserWarning, match="The probe failed"):
            probe_trial(second, fails("forward")[0], DIGITS.train)
        ours = {attributes.FAULT, attributes.REASON, attributes.VIOLATION, attributes.SECONDS}
        known = {key for key, value in second.user_attrs.items() if value is not None}
        assert known == ours | {attributes.TRIAL, attributes.TRAINABLE}
        probe_trial(second, mlp(depth=3), DIGITS.train)
        assert second.user_attrs[attributes.FAULT] is None
        assert second.user_attrs[attributes.STEPS] is None


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
    with pytest.raises(TypeError, match=r"`rule` must be a rule, but got the class: Saturation"):
        probe_trial(new_study().ask(), mlp(), DIGITS.train, rule=SaturationRule)  # type: ignore[arg-type]
