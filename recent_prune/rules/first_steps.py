"""The verdict on a trial's first steps."""

from __future__ import annotations

import json
import math
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from recent_prune.rules.forest import Answer, Forest
from recent_prune.rules.step_numbers import profile_after, step_numbers
from recent_prune.rules.verdict import MAX_VIOLATION, Cause, Verdict

if TYPE_CHECKING:
    from recent_prune.probe import FirstSteps, ProbeResult

TYPICAL_BUDGET = 500
"""Steps that a training of unknown length is ranked by: about the median of what was fitted."""

FLOORS = 3
"""Noise floors of the default estimator, by which the forest was fitted."""

GUARDED = ("start", "elasticity", "straightness")
"""Numbers that tell whether the forest has seen such a network and optimizer. Of the others what is
beyond all that was seen is only better, or only worse."""

NOWHERE = 0.02
"""Size of the logarithm of the loss after over that before, up to which the steps led nowhere."""

HOPELESS = 1e10
"""Loss over that of a constant prediction from which no trial of the benchmark came back; from a
millionth of it RMSprop still did."""

TORN = 100.0
"""Norm of all updates over that of the weights from which none of the benchmark came back whose
loss had risen above that of a constant prediction (beyond 55: none of 14 to half of the best)."""


@cache
def first_steps_model(*, profile: bool) -> Forest:
    """A forest that comes with the package, from ``benchmarks/prediction/trials/fit.py``.

    Args:
        profile: Whether the one that also looks at the profile after the steps, or the one that
            looks at the steps alone.
    """
    text = files("recent_prune.rules").joinpath("first_steps.json").read_text(encoding="utf-8")
    name = "steps and profile" if profile else "steps alone"
    return Forest.from_dict(json.loads(text)[name])


def predicted_reach(result: ProbeResult, steps: FirstSteps) -> float:
    """How far the trial will come, in [0, 1]; −∞ for one that is dead or broken."""
    if _certain(result, steps) is not None:
        return -math.inf
    return _asked(result, steps, steps.budget or TYPICAL_BUDGET).mean


def _asked(result: ProbeResult, steps: FirstSteps, budget: int | None) -> Answer:
    """What the forests say: by the profile as well, where that is like those that were fitted."""
    numbers = step_numbers(steps, budget)
    floors = result.retained_by_floor[-1] if result.retained_by_floor else ()
    usable = len(floors) == FLOORS and result.inputs_recoverable and not result.stochastic
    if usable:
        after = profile_after(
            floors,
            result.relative_variance[-1],
            result.gram_entropy[-1],
            result.activation_rms[-1],
        )
        answer = first_steps_model(profile=True)({**numbers, **after})
        known = not any(map(math.isnan, after.values()))
        if known and not set(after) & set(answer.outside):
            return answer
    return first_steps_model(profile=False)(numbers)


def judge_steps(result: ProbeResult, steps: FirstSteps, least: float) -> Verdict:
    """Judge a trial by its first steps.

    Args:
        result: Of its probe, after them.
        steps: What they showed.
        least: Reach that must be predicted.
    """
    certain = _certain(result, steps)
    if certain is not None:
        return certain
    if not steps.repeatable:
        return _kept("The model does not say the same twice, so that its first steps say nothing.")
    if not math.isfinite(steps.constant_loss):
        return _kept(
            "The best constant prediction is not known for this loss, so that only what is not "
            "finite or dead is condemned."
        )
    # Without a budget, as if there were time enough.
    answer = _asked(result, steps, steps.budget)
    unseen = [name for name in answer.outside if name in GUARDED]
    if unseen:
        return _kept(
            f"Outside of what the rule was fitted to ({', '.join(unseen)}), so that it does not "
            "judge."
        )
    gist = (
        f"After {steps.made} steps the loss went from {steps.loss_before:.4g} to "
        f"{steps.loss_after:.4g} ({steps.constant_loss:.4g} by a constant prediction)"
    )
    if answer.mean >= least:
        return Verdict(
            True,
            0.0 - min((answer.mean - least) / (1 - least), MAX_VIOLATION),
            f"{gist}; a reach of {answer.mean:.0%} is predicted.",
            advice=_advice(steps),
        )
    cause = _cause(result, steps)
    return Verdict(
        False,
        min(max(1 - answer.mean / least, 1e-6), MAX_VIOLATION),
        f"{gist}; a reach of {answer.mean:.0%} is predicted (at least {least:.0%} needed): it "
        f"{_ABOUT[cause]}.",
        cause=cause,
        advice=_advice(steps),
    )


_ABOUT = {
    Cause.DIVERGES: "diverges",
    Cause.STALLS: "stalls",
    Cause.LOST: "loses its input on the way",
    Cause.EXPLODED: "has activations that explode",
    Cause.UNLIKELY: "begins like few that trained",
}


def _kept(reason: str) -> Verdict:
    return Verdict(True, 0.0, reason)


def _certain(result: ProbeResult, steps: FirstSteps) -> Verdict | None:
    """The verdict on what needs no forest."""
    if steps.nonfinite_step is not None:
        return Verdict(
            False,
            MAX_VIOLATION,
            f"Loss or gradient are not finite in first step {steps.nonfinite_step} of "
            f"{steps.made}, at learning rate {steps.learning_rate:.3g}.",
            cause=Cause.NONFINITE,
            advice=_advice(steps),
        )
    risen = steps.loss_after > max(steps.loss_before, steps.constant_loss)
    torn = risen and steps.update > TORN * steps.weight_norm > 0
    if torn or steps.loss_after > HOPELESS * abs(steps.constant_loss):
        return Verdict(
            False,
            MAX_VIOLATION,
            f"After {steps.made} steps the loss is {steps.loss_after:.3g}, by a constant "
            f"prediction {steps.constant_loss:.3g}, and the weights were moved by "
            f"{steps.update / max(steps.weight_norm, 1e-30):.2g} times their norm: it diverges.",
            cause=Cause.DIVERGES,
            advice=_advice(steps),
        )
    if steps.unreached == 1 and steps.gradient_norms[-1] == 0:
        return Verdict(
            False,
            MAX_VIOLATION,
            f"No gradient arrives at any parameter that trains, in {steps.made} steps.",
            cause=Cause.DEAD,
        )
    if result.constant_output:
        return Verdict(
            False,
            MAX_VIOLATION,
            f"After {steps.made} steps the output is still the same for all inputs, to the last "
            "bit.",
            cause=Cause.DEAD,
        )
    return None


def _cause(result: ProbeResult, steps: FirstSteps) -> Cause:
    change = math.log(max(steps.loss_after, 1e-30) / max(steps.loss_before, 1e-30))
    if change > NOWHERE and steps.loss_after > steps.constant_loss:
        return Cause.DIVERGES
    if change > -NOWHERE:
        lost = result.inputs_recoverable and result.retained[-1] < 1e-3
        return Cause.LOST if lost and not result.stochastic else Cause.STALLS
    return Cause.UNLIKELY


def _advice(steps: FirstSteps) -> str | None:
    """Compare the rate with the critical one, where that is known."""
    critical = steps.critical_rate
    if critical is None or not critical > 0:
        return None
    ratio = steps.learning_rate / critical
    if ratio > 1:
        return (
            f"Learning rate {steps.learning_rate:.3g} is {ratio:.2g} times the critical "
            f"{critical:.3g}, from which the first step raises the loss."
        )
    if ratio < 0.1:
        return (
            f"Learning rate {steps.learning_rate:.3g} is {1 / ratio:.2g} times below the critical "
            f"{critical:.3g}: there is room for a larger one."
        )
    return None
