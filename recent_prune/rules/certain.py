"""What condemns a trial's first steps for certain, without a forest."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from recent_prune.rules.verdict import MAX_VIOLATION, Cause, Verdict

if TYPE_CHECKING:
    from recent_prune.probe import FirstSteps, ProbeResult

NOWHERE = 0.02
"""Size of the logarithm of the loss after over that before, up to which the steps led nowhere."""

HOPELESS = 1e10
"""Loss over that of a constant prediction, or over that before where the former is not known, from
which no trial of the benchmark came back; from a millionth of it RMSprop still did."""

TORN = 100.0
"""Norm of all updates over that of the weights from which none of the benchmark came back whose
loss had risen above that of a constant prediction (beyond 55: none of 14 to half of the best)."""

PREDICTING = 0.1
"""Accuracy above chance, and above that before the steps: none of the benchmark's 20 torn trials
has come to it."""

UNREACHED = 0.5
"""Share of the parameters without a gradient, from which outputs that are all the same stay so."""

MOVING = 1e-3
"""Median change of the layers' weights, over them: less, and outputs that are all the same stay so.
Spiking networks that are silent at first move more, and wake up."""

NEGLIGIBLE = 1e-7
"""Of the weights' norm, that a whole training moves them: rounding in single precision."""


def certain_verdict(result: ProbeResult, steps: FirstSteps) -> Verdict | None:
    """The verdict on what needs no forest, or None."""
    if steps.nonfinite_step is not None:
        return condemned(
            Cause.NONFINITE,
            f"Loss or gradient are not finite in first step {steps.nonfinite_step} of "
            f"{steps.made}, at learning rate {steps.learning_rate:.3g}.",
            advice_on(steps),
        )
    known, moved = math.isfinite(steps.constant_loss), steps.update / max(steps.weight_norm, 1e-30)
    if _diverged(steps):
        return condemned(
            Cause.DIVERGES,
            f"After {steps.made} steps the loss is {steps.loss_after:.3g}"
            + (f", by a constant prediction {steps.constant_loss:.3g}" if known else "")
            + f", and the weights were moved by {moved:.2g} times their norm: it diverges.",
            advice_on(steps),
        )
    # A loss of zero has no gradient either.
    if steps.unreached == 1 and steps.gradient_norms[-1] == 0 and any(steps.losses):
        return condemned(
            Cause.DEAD, f"No gradient arrives at any parameter that trains, in {steps.made} steps."
        )
    if result.constant_output and _stays_dead(steps):
        return condemned(
            Cause.DEAD,
            f"After {steps.made} steps the output is still the same for all inputs, to the last "
            "bit.",
        )
    if (steps.learning_rate == 0 and moved == 0) or _is_negligible(steps, moved):
        return condemned(
            Cause.STALLS,
            f"At learning rate {steps.learning_rate:.3g} {steps.made} steps moved the weights by "
            f"{moved:.2g} times their norm: it stalls.",
            "Where the training loop sets the rate itself, say so by `learning_rate`.",
        )
    return None


def condemned(cause: Cause, reason: str, advice: str | None = None) -> Verdict:
    """The verdict on what could not be worse."""
    return Verdict(False, MAX_VIOLATION, reason, cause=cause, advice=advice)


def _diverged(steps: FirstSteps) -> bool:
    """Whether the loss has gone where no trial of the benchmark came back from."""
    constant, reference = steps.constant_loss, max(steps.loss_before, steps.constant_loss)
    torn = steps.update > TORN * steps.weight_norm > 0 and not _predicts(steps)
    if torn and steps.loss_after > reference + NOWHERE * abs(reference):
        return True
    # What has no error by a constant prediction (zeros as targets) is measured by its own.
    scale = abs(constant) if math.isfinite(constant) and constant != 0 else abs(steps.loss_before)
    rises = not steps.loss_after <= steps.loss_before
    return rises and scale > 0 and steps.loss_after > HOPELESS * scale


def _predicts(steps: FirstSteps) -> bool:
    """Whether it already predicts, whatever the size of its weights and of the loss.

    A head that starts at next to nothing is moved by many times its norm at a rate that suits it.
    """
    return steps.accuracy_after > max(steps.accuracy_before, steps.chance) + PREDICTING


def _stays_dead(steps: FirstSteps) -> bool:
    """Whether too little arrives in front for outputs that are all the same to come to differ."""
    ratios = sorted(steps.update_ratios)
    median = ratios[len(ratios) // 2] if ratios else 0.0
    return steps.unreached >= UNREACHED or not median > MOVING


def _is_negligible(steps: FirstSteps, moved: float) -> bool:
    """Whether the budget, known, is too short for any parameter to go anywhere."""
    if steps.budget is None or steps.slow_start or not any(steps.gradient_norms):
        return False
    return moved / steps.made * steps.budget < NEGLIGIBLE


def advice_on(steps: FirstSteps) -> str | None:
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
