"""What a probe leaves in the trial."""

from __future__ import annotations

import json

import pytest
import torch
from optuna.trial import Trial
from torch.nn.functional import cross_entropy

from recent_prune.optuna import attributes, probe_trial
from recent_prune.probe import FirstSteps, ProbeResult, Training, probe
from recent_prune.rules import (
    Cause,
    TrainabilityRule,
    Verdict,
)
from tests.networks import mlp
from tests.optuna.studies import DIGITS
from tests.optuna.trials import BATCHES, TRAINING, new_study, sgd


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
