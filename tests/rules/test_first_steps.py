from __future__ import annotations

import math
from typing import Any

import pytest

from recent_prune.rules import Cause, TrainabilityRule
from recent_prune.rules.first_steps import GUARDED, required_reach
from recent_prune.rules.first_steps_forests import Target, first_steps_model
from recent_prune.rules.step_numbers import NUMBERS, PROFILE_NUMBERS, step_numbers
from tests.rules.results import result
from tests.rules.steps import DIVERGED, STALLED, steps

rule = TrainabilityRule()


def test_the_model_that_comes_with_the_package() -> None:
    targets: tuple[Target, ...] = ("reach", "rank")
    for target in targets:
        assert first_steps_model(target, profile=False).names == NUMBERS
        assert first_steps_model(target, profile=True).names == (*NUMBERS, *PROFILE_NUMBERS)
        assert len(first_steps_model(target, profile=True).trees) == 100
    assert set(GUARDED) <= set(NUMBERS)


def test_keeps_a_trial_that_begins_well() -> None:
    verdict = rule(result([0.7, 0.6], steps=steps()))
    assert verdict.trainable
    assert verdict.cause is None
    assert "from 2.5 to 1.9 (2.3 by a constant prediction)" in verdict.reason


def test_condemns_one_that_diverges() -> None:
    verdict = rule(result([0.7, 0.1], steps=DIVERGED))
    assert not verdict.trainable
    assert verdict.cause is Cause.DIVERGES
    assert 0 < verdict.violation <= 1


def test_a_loss_beyond_all_bounds_needs_no_constant_prediction() -> None:
    broken = steps(constant_loss=math.nan, loss_before=6.2, loss_after=1.3e19)
    verdict = rule(result([0.7, 0.6], steps=broken))
    assert verdict.cause is Cause.DIVERGES
    assert rule(result([0.7, 0.6], steps=steps(constant_loss=math.nan, loss_after=1e3))).trainable


def test_condemns_one_that_stalls_only_where_the_budget_is_known() -> None:
    verdict = rule(result([0.7, 0.6], steps=STALLED))
    assert not verdict.trainable
    assert verdict.cause is Cause.STALLS
    fields = {name: getattr(STALLED, name) for name in STALLED.__dataclass_fields__}
    patient = steps(**{**fields, "budget": None})
    assert rule(result([0.7, 0.6], steps=patient)).trainable


LOST = {
    "jacobian_norm": (1.0, 1e-12),
    "relative_variance": (0.5, 1e-9),
    "activation_rms": (0.5, 0.4),
}


def test_says_that_the_input_is_lost_where_it_is() -> None:
    assert rule(result([0.7, 0.0], steps=STALLED, **LOST)).cause is Cause.LOST
    large = {**LOST, "activation_rms": (1e3, 1e5), "jacobian_norm": (1.0, 1e9)}
    assert rule(result([0.7, 0.1], steps=DIVERGED, **large)).cause in (
        Cause.EXPLODED,
        Cause.DIVERGES,
    )


def test_more_is_asked_where_the_profile_speaks_against_it_as_well() -> None:
    numbers = step_numbers(STALLED)
    assert required_reach(numbers, 0.9, 0.12) == 0.12
    assert required_reach(numbers, 0.1, 0.12) == pytest.approx(0.3)
    assert required_reach(numbers, 0.1, 0.9) < 1


def test_a_plateau_is_waited_for() -> None:
    """From it deep networks depart late, and then fast."""
    plateau = {**step_numbers(STALLED), "spread": -5.0, "promise": -2.0}
    assert required_reach(plateau, 0.9, 0.12) == 0.0
    assert required_reach({**plateau, "promise": -4.0}, 0.9, 0.12) == 0.12
    assert required_reach({**plateau, "loss": 3.0}, 0.9, 0.12) == 0.12  # it has risen
    assert required_reach({**plateau, "spread": -1.0}, 0.9, 0.12) == 0.12
    assert required_reach(plateau, 0.1, 0.12) == pytest.approx(0.3)
    missing = {**plateau, "spread": math.nan}  # no outputs
    assert required_reach(missing, 0.9, 0.12) == 0.12


def test_what_is_not_finite_and_condemns_nobody_is_told() -> None:
    verdict = rule(result([0.7, 0.6], steps=steps(loss_before=math.nan)))
    assert verdict.trainable
    assert verdict.reason.endswith("Not finite: the loss before the steps.")
    blown_up = result([0.7, 0.0], steps=steps(), nonfinite_layer="fc")
    assert rule(blown_up).reason.endswith("Not finite: activations of 'fc'.")
    lost = rule(result([0.7, 0.6], steps=steps(update=math.inf)))
    assert lost.reason.endswith("Not finite: the updates.")
    blank = result([0.7, 0.6], steps=steps(), nonfinite_outputs=0.5)
    assert rule(blank).reason.endswith("Not finite: outputs of 50.0% of the samples.")
    assert "not finite" not in rule(result([0.7, 0.6], steps=steps())).reason.lower()


def test_what_diverged_from_a_loss_that_was_not_finite_is_told_so() -> None:
    gone = steps(loss_before=math.nan, loss_after=1e35)
    verdict = rule(result([0.7, 0.6], steps=gone))
    assert verdict.cause == Cause.DIVERGES
    assert verdict.reason.endswith("it diverges. Not finite: the loss before the steps.")


def test_what_stalls_with_activations_that_are_not_finite_is_condemned_for_these() -> None:
    verdict = rule(
        result(
            [0.7, 0.0],
            steps=STALLED,
            nonfinite_layer="fc",
            relative_variance=(0.9, math.nan),
            activation_rms=(1.0, math.nan),
            jacobian_norm=(1.0, math.nan),
        )
    )
    assert verdict.cause == Cause.NONFINITE
    assert "activations that are not finite. Not finite: activations of 'fc'." in verdict.reason


def test_condemns_what_is_not_finite_with_the_step() -> None:
    verdict = rule(result([0.7, 0.6], steps=steps(nonfinite_step=2, loss_after=math.nan)))
    assert (verdict.cause, verdict.violation) == (Cause.NONFINITE, 1.0)
    assert "first step 2 of 6" in verdict.reason


def test_condemns_what_nothing_brings_back() -> None:
    verdict = rule(result([0.7, 0.6], steps=steps(loss_after=1e31)))
    assert (verdict.cause, verdict.violation) == (Cause.DIVERGES, 1.0)
    assert "loss is 1e+31, by a constant prediction 2.3" in verdict.reason
    torn: dict[str, Any] = {"loss_after": 20.0, "update": 19e3, "accuracy_after": 0.1}
    verdict = rule(result([0.7, 0.6], steps=steps(**torn)))
    assert (verdict.cause, verdict.violation) == (Cause.DIVERGES, 1.0)
    assert "moved by 1e+03 times their norm" in verdict.reason


def test_a_head_that_already_predicts_is_not_torn() -> None:
    """It started at next to nothing, as logistic regressions do."""
    known = steps(loss_after=3.0, update=190.0, weight_norm=1.0, accuracy_after=0.6)
    verdict = rule(result([0.7, 0.6], steps=known))
    assert "times their norm" not in verdict.reason


def test_condemns_what_no_gradient_reaches() -> None:
    dead = steps(unreached=1.0, gradient_norms=(0.0,) * 6, first_update=0.0, update=0.0)
    verdict = rule(result([0.7, 0.6], steps=dead))
    assert (verdict.trainable, verdict.cause) == (False, Cause.DEAD)
    assert "No gradient" in verdict.reason


@pytest.mark.parametrize("fields", [{"unreached": 0.9}, {"update_ratios": (0.0, 1e-5, 0.1)}])
def test_condemns_an_output_that_no_step_could_move(fields: dict[str, Any]) -> None:
    verdict = rule(result([0.7, 0.6], steps=steps(**fields), constant_output=True))
    assert (verdict.trainable, verdict.cause) == (False, Cause.DEAD)
    assert "still the same for all inputs" in verdict.reason


def test_keeps_one_whose_weights_move_all_the_same() -> None:
    moving = steps(unreached=0.0, update_ratios=(0.05, 0.04, 0.05))
    verdict = rule(result([0.0, 0.0], steps=moving, constant_output=True))
    assert verdict.trainable
    assert "gradients arrive in front and the weights move" in verdict.reason


@pytest.mark.parametrize(
    ("before", "after", "condemned"),
    [
        (0.5, 0.45, False),  # zeros as targets, or a residual
        (0.0, 1.9e-6, False),  # rewards that none of these samples has
        (0.5, 1e11, True),
    ],
)
@pytest.mark.parametrize("constant", [0.0, 1e-13])
def test_what_a_constant_solves_is_measured_by_its_own_loss(
    before: float, after: float, constant: float, condemned: bool
) -> None:
    known = steps(constant_loss=constant, loss_before=before, loss_after=after)
    assert rule(result([0.7, 0.6], steps=known)).trainable is not condemned


def test_updates_beyond_the_weights_condemn_only_with_a_loss_that_rose() -> None:
    torn: dict[str, Any] = {"update": 220.0, "weight_norm": 1.0, "constant_loss": 5.561}
    torn["accuracy_after"] = 0.1
    tiny = steps(**torn, loss_before=5.5674, loss_after=5.5676)
    assert rule(result([0.7, 0.6], steps=tiny)).trainable
    risen = steps(**torn, loss_before=5.5674, loss_after=6.1)
    assert rule(result([0.7, 0.6], steps=risen)).cause is Cause.DIVERGES


@pytest.mark.parametrize("budget", [None, 300])
def test_condemns_a_rate_of_zero(budget: int | None) -> None:
    still = steps(learning_rate=0.0, update=0.0, loss_after=2.5, budget=budget)
    verdict = rule(result([0.7, 0.6], steps=still))
    assert (verdict.trainable, verdict.cause) == (False, Cause.STALLS)
    assert verdict.advice is not None
    assert "`learning_rate`" in verdict.advice


def test_an_optimizer_that_finds_its_own_rate_has_none() -> None:
    moving = rule(result([0.7, 0.6], steps=steps(learning_rate=0.0)))
    assert moving.trainable
    assert rule(result([0.7, 0.6], steps=steps(learning_rate=math.nan))).trainable


def test_condemns_steps_that_come_to_nothing_in_the_whole_budget() -> None:
    tiny: dict[str, Any] = {"learning_rate": 1e-12, "update": 1e-12, "loss_after": 2.5}
    assert rule(result([0.7, 0.6], steps=steps(**tiny))).cause is Cause.STALLS
    patient = rule(result([0.7, 0.6], steps=steps(**tiny, budget=None)))
    assert "times their norm" not in patient.reason
    silent = rule(result([0.7, 0.6], steps=steps(**tiny, gradient_norms=(0.0,) * 6)))
    assert "times their norm" not in silent.reason


def test_an_optimizer_that_begins_slowly_is_not_condemned_for_it() -> None:
    fields = {name: getattr(STALLED, name) for name in STALLED.__dataclass_fields__}
    verdict = rule(result([0.7, 0.6], steps=steps(**{**fields, "slow_start": True})))
    assert verdict.trainable
    assert "begins slowly of its own accord" in verdict.reason
    fields = {name: getattr(DIVERGED, name) for name in DIVERGED.__dataclass_fields__}
    assert not rule(result([0.7, 0.6], steps=steps(**{**fields, "slow_start": True}))).trainable


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"repeatable": False}, "does not say the same twice"),
        ({"constant_loss": math.nan}, "constant prediction is not known"),
        ({"gradient_norms": (1e20,) * 6}, r"Outside of what the rule was fitted to \(elasticity"),
    ],
)
def test_keeps_what_it_cannot_judge(fields: dict[str, object], reason: str) -> None:
    known = {name: getattr(DIVERGED, name) for name in DIVERGED.__dataclass_fields__}
    import re

    verdict = rule(result([0.7, 0.6], steps=steps(**{**known, **fields})))
    assert verdict.trainable
    assert verdict.violation == 0.0
    assert re.search(reason, verdict.reason)


def test_advice_is_never_a_verdict() -> None:
    fields = {name: getattr(DIVERGED, name) for name in DIVERGED.__dataclass_fields__}
    verdict = rule(result([0.7, 0.6], steps=steps(**{**fields, "critical_rate": 0.05})))
    assert verdict.advice is not None
    assert "Learning rate 1 is 20 times the critical 0.05" in verdict.advice
    fine = rule(result([0.7, 0.6], steps=steps(critical_rate=1e-5)))
    assert fine.trainable
    assert fine.advice is not None


def test_score_ranks() -> None:
    good, diverged, stalled = (
        rule.score(result([0.7, 0.6], steps=known)) for known in (steps(), DIVERGED, STALLED)
    )
    assert good > max(diverged, stalled)
    assert rule.score(result([0.7, 0.6], steps=steps(nonfinite_step=1))) == -math.inf
    assert good == pytest.approx(
        first_steps_model("rank", profile=False)(step_numbers(steps())).mean
    )


def test_a_stricter_rule_condemns_more() -> None:
    assert not TrainabilityRule(min_reach=0.99)(result([0.7, 0.6], steps=steps())).trainable
    with pytest.raises(ValueError, match=r"`min_reach` must lie in \(0, 1\), but got 1"):
        TrainabilityRule(min_reach=1.0)


def test_the_profile_after_the_steps_is_looked_at_where_it_is_like_those_that_were_fitted() -> None:
    profile = {"gram_entropy": (0.6, 0.5), "relative_variance": (0.3, 0.2), "steps": steps()}
    healthy = result([0.7, 0.6], retained_by_floor=((0.6, 0.7, 0.7), (0.5, 0.6, 0.6)), **profile)
    lost = result([0.7, 0.0], retained_by_floor=((0.6, 0.7, 0.7), (0.0, 0.0, 0.0)), **profile)
    alone = rule.score(result([0.7, 0.6], steps=steps()))
    assert rule.score(healthy) > rule.score(lost)
    assert alone not in (rule.score(healthy), rule.score(lost))
    huge = {**profile, "activation_rms": (1.0, math.inf)}
    unlike = result([0.7, 0.6], retained_by_floor=((0.6, 0.7, 0.7), (0.5, 0.6, 0.6)), **huge)
    assert rule.score(unlike) == alone


@pytest.mark.parametrize("fields", [{"stochastic": True}, {"redundancy": 0.1}])
def test_a_profile_that_says_nothing_is_not_looked_at(fields: dict[str, object]) -> None:
    floors = {"retained_by_floor": ((0.6, 0.7, 0.7), (0.5, 0.6, 0.6)), "steps": steps()}
    assert rule.score(result([0.7, 0.6], **floors, **fields)) == rule.score(
        result([0.7, 0.6], steps=steps())
    )
