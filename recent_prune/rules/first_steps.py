"""The verdict on a trial's first steps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from recent_prune.rules.certain import NOWHERE, advice_on, certain_verdict, condemned
from recent_prune.rules.first_steps_forests import asked
from recent_prune.rules.profile_numbers import (
    is_dead,
    log_odds,
    probability_of,
    profile_numbers,
    why_silent,
    worst_number,
)
from recent_prune.rules.step_numbers import step_numbers
from recent_prune.rules.verdict import (
    Cause,
    Verdict,
    nonfinite_outputs,
    with_nonfinite,
)

if TYPE_CHECKING:
    from recent_prune.probe import FirstSteps, ProbeResult

GUARDED = ("start", "elasticity", "straightness")
"""Numbers that tell whether the forest has seen such a network and optimizer. Of the others what is
beyond all that was seen is only better, or only worse."""

STILL = 1e-6
"""Relative change of a loss that is rounding in single precision."""

UNLIKELY = 0.5
"""Probability by its profile below which a network is more likely to fail than to train."""

WITNESSED = 2.5
"""How much more reach is asked for where the profile speaks against a trial as well. Chosen like
the threshold itself; none of 406 good trials of the benchmark lies between."""

MOST = 0.999
"""Of what may be asked for."""

PLATEAU = -3.0
"""Logarithm of the outputs' deviation over samples, over the root of the loss of a constant
prediction: outputs that hardly differ yet."""

PROMISED = -3.0
"""Logarithm of the share of the loss that the first gradient promises within the budget. Momentum
makes it ten times as much, and depth more, later on."""


def judge_steps(result: ProbeResult, steps: FirstSteps, least: float) -> Verdict:
    """Judge a trial by its first steps.

    Args:
        result: Of its probe, after them.
        steps: What they showed.
        least: Reach that must be predicted.
    """
    verdict = certain_verdict(result, steps) or _by_forest(result, steps, least)
    broken = [
        *([] if math.isfinite(steps.loss_before) else ["the loss before the steps"]),
        *([] if math.isfinite(steps.update) else ["the updates"]),
        *([] if result.nonfinite_layer is None else [f"activations of {result.nonfinite_layer!r}"]),
        *nonfinite_outputs(result),
    ]
    return with_nonfinite(verdict, broken if steps.nonfinite_step is None else [])


def _by_forest(result: ProbeResult, steps: FirstSteps, least: float) -> Verdict:
    told = _why_not_asked(steps)
    if told is not None:
        return _kept(told)
    # Without a budget, as if there were time enough.
    answer = asked("reach", result, steps, steps.budget)
    unseen = [name for name in answer.outside if name in GUARDED]
    if unseen and _is_dead_and_still(result, steps):
        return condemned(
            Cause.DEAD,
            f"Nothing of the input arrives, and in {steps.made} steps the loss did not move from "
            f"{steps.loss_before:.4g}.",
        )
    if unseen:
        return _kept(
            f"Outside of what the rule was fitted to ({', '.join(unseen)}), so that it does not "
            "judge."
        )
    if result.constant_output:
        return _kept(
            "The output is the same for all inputs, but gradients arrive in front and the weights "
            "move, as in spiking networks that are silent at first."
        )
    probability = profile_probability(result)
    reach = required_reach(step_numbers(steps), probability, least)
    gist = (
        f"After {steps.made} steps the loss went from {steps.loss_before:.4g} to "
        f"{steps.loss_after:.4g} ({steps.constant_loss:.4g} by a constant prediction)"
    )
    if answer.mean >= reach:
        return Verdict(
            True,
            0.0 - (answer.mean - reach) / (1 - reach),
            f"{gist}; a reach of {answer.mean:.0%} is predicted.",
            advice=advice_on(steps),
        )
    cause = _cause(result, steps, probability)
    return Verdict(
        False,
        1 - answer.mean / reach,
        f"{gist}; a reach of {answer.mean:.0%} is predicted (at least {reach:.0%} needed): it "
        f"{_ABOUT[cause]}.",
        cause=cause,
        advice=advice_on(steps),
    )


def _why_not_asked(steps: FirstSteps) -> str | None:
    """Why the steps say nothing to a forest, or None."""
    if not steps.repeatable:
        return "The model does not say the same twice, so that its first steps say nothing."
    if not math.isfinite(steps.constant_loss):
        return (
            "The best constant prediction is not known for this loss, so that only what is not "
            "finite or dead is condemned."
        )
    if steps.slow_start and not _has_risen(step_numbers(steps)):
        return (
            "The optimizer begins slowly of its own accord, so that its first steps do not tell "
            "how fast it will be: only what gets worse is condemned."
        )
    return None


_ABOUT = {
    Cause.DIVERGES: "diverges",
    Cause.STALLS: "stalls",
    Cause.LOST: "loses its input on the way",
    Cause.EXPLODED: "has activations that explode",
    Cause.NONFINITE: "has activations that are not finite",
    Cause.UNLIKELY: "begins like few that trained",
}


def _is_dead_and_still(result: ProbeResult, steps: FirstSteps) -> bool:
    """Whether the profile is dead, on no purpose, and the loss of the same samples stays."""
    change = abs(steps.loss_after - steps.loss_before)
    return (
        why_silent(result) is None
        and not result.zeroed
        and is_dead(profile_numbers(result))
        and change <= STILL * abs(steps.loss_before)
    )


def _kept(reason: str) -> Verdict:
    return Verdict(True, 0.0, reason)


def required_reach(numbers: Mapping[str, float], probability: float, least: float) -> float:
    """What must be predicted for a trial to be kept, in [0, 1].

    More is asked where the profile after the steps is a second witness: where a network with such
    a profile is more likely to fail than to train. And nothing is, where the outputs hardly differ
    between samples, the loss has not risen and the first gradient's promise is not far below the
    whole loss: deep networks depart from such a plateau late, and then fast
    (``benchmarks/compute_saved``, slow starters).

    Args:
        numbers: See `step_numbers`.
        probability: See `profile_probability`.
        least: Without either.
    """
    if probability < UNLIKELY:
        return min(WITNESSED * least, MOST)
    plateau = numbers["spread"] < PLATEAU and not _has_risen(numbers)
    return 0.0 if plateau and numbers["promise"] > PROMISED else least


def _has_risen(numbers: Mapping[str, float]) -> bool:
    return numbers["loss"] - numbers["start"] > NOWHERE


def profile_probability(result: ProbeResult) -> float:
    """That a network with such a profile trains; 1 where the profile says nothing."""
    if result.nonfinite_layer is not None:
        return 0.0
    if why_silent(result) is not None:
        return 1.0
    return probability_of(log_odds(profile_numbers(result)))


def _cause(result: ProbeResult, steps: FirstSteps, probability: float) -> Cause:
    change = math.log(max(steps.loss_after, 1e-30) / max(steps.loss_before, 1e-30))
    if change > NOWHERE and steps.loss_after > steps.constant_loss:
        return Cause.DIVERGES
    if result.nonfinite_layer is not None:
        return Cause.NONFINITE
    if probability < UNLIKELY:
        numbers = profile_numbers(result)
        large = worst_number(numbers) == "size" and numbers["size"] > 0
        return Cause.EXPLODED if large else Cause.LOST
    return Cause.STALLS if change > -NOWHERE else Cause.UNLIKELY
