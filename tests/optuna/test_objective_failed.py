"""A probe that fails keeps its trial; a call that is wrong is an error."""

from __future__ import annotations

import warnings
from typing import Any

import optuna
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from recent_prune.optuna import ReconstructionEntropyPruner, attributes, probe_trial
from recent_prune.probe import Training
from recent_prune.rules import (
    Verdict,
)
from tests.networks import mlp
from tests.optuna.studies import DIGITS
from tests.optuna.trials import BATCHES, TRAINING, new_study, sgd


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
            (TypeError, "`rule` must be a rule .*, but got 0.5", DIGITS.train, {"rule": 0.5}),
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

    @pytest.mark.parametrize(
        "error", [KeyboardInterrupt("by the user"), optuna.TrialPruned("by the model")]
    )
    def test_the_users_own_ends_are_raised(self, error: BaseException) -> None:
        trial = new_study().ask()
        with pytest.raises(type(error), match="by the"):
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
