"""What a rule looks at in a trial's first steps: numbers that mean the same in every task.

None is a hyperparameter, and none has the unit of a loss: losses are taken over that of the best
constant prediction, accuracies over chance, updates over weights, changes of the outputs over
their own spread. Where the best constant prediction is not known (a loss that the model computes
itself), the loss before the steps stands for it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recent_prune.probe import FirstSteps

LARGEST = 30.0
"""Of a logarithm's size: what is not finite counts as this."""

LEAST = 1e-12
"""Zero has no logarithm: less than this counts as this."""

UNKNOWN_BUDGET = 1_000_000
"""Steps that a training of unknown length is taken for, so that nobody is condemned for being
slow."""

NUMBERS = (
    "progress",
    "promise",
    "accuracy",
    "loss",
    "start",
    "trend",
    "wiggle",
    "update",
    "straightness",
    "least_update",
    "median_update",
    "largest_update",
    "spread",
    "shift",
    "motion",
    "unreached",
    "elasticity",
)
"""Names of what `step_numbers` gives."""

PROFILE_NUMBERS = ("retained_strong", "retained", "retained_weak", "variance", "entropy", "size")
"""Names of what `profile_after` gives."""


def step_numbers(steps: FirstSteps, budget: int | None = None) -> dict[str, float]:
    """The numbers of a trial's first steps.

    Args:
        steps: What they showed.
        budget: Steps of the full training. Default: that of ``steps``, else `UNKNOWN_BUDGET`.

    Returns:
        Of the judged samples, ``progress``: logarithm of the share of the loss (before the steps or
        of the best constant prediction, whichever is larger) that would be gained within the
        budget if it went on as it began; ``promise``: the same from the first gradient alone;
        ``accuracy`` over chance in [−1, 1], where there are no classes the share of the constant
        prediction's loss that is gained; ``loss`` and ``start``: logarithm of the loss after and
        before over the constant prediction's. Of the batches trained on, ``trend``: logarithm of
        the last loss over the first; ``wiggle``: mean size of the changes of its logarithm. Of the
        parameters, ``update``: logarithm of the norm of all updates over that of the weights;
        ``straightness``: logarithm of that norm over what as many first updates would make;
        ``least_update``, ``median_update`` and ``largest_update``: over the layers, logarithm of
        update over weight; ``unreached``: share without a gradient; ``elasticity``: logarithm of
        the relative change of the first loss a relative change of the weights can make. Of the
        outputs, ``spread``: logarithm of their deviation over samples, after the steps, over the
        root of the constant prediction's loss; ``motion``: the same of their change; ``shift``:
        logarithm of their change over their deviation. NaN where the model gives no outputs.
        All others are finite, within ±`LARGEST`.
    """
    reference = steps.constant_loss
    if not (math.isfinite(reference) and reference > 0):
        reference = abs(steps.loss_before)
    scale = max(abs(steps.loss_before), reference)
    length = budget or steps.budget or UNKNOWN_BUDGET
    gained = (steps.loss_before - steps.loss_after) / max(scale, LEAST)
    root = math.sqrt(max(reference, LEAST))
    ratios = sorted(_log(ratio) for ratio in steps.update_ratios) or [-LARGEST]
    losses = steps.losses
    return {
        "progress": _log(gained / steps.made * length) if gained > 0 else -LARGEST,
        "promise": _log(steps.first_order / max(scale, LEAST) * length),
        "accuracy": _accuracy(steps, reference),
        "loss": _log_ratio(steps.loss_after, reference),
        "start": _log_ratio(steps.loss_before, reference),
        "trend": _log_ratio(losses[-1], losses[0]),
        "wiggle": _wiggle(losses),
        "update": _log_ratio(steps.update, steps.weight_norm),
        "straightness": _log_ratio(steps.update, steps.made * steps.first_update),
        "least_update": ratios[0],
        "median_update": ratios[len(ratios) // 2],
        "largest_update": ratios[-1],
        "spread": _log_ratio(steps.output_spread_after, root, missing=True),
        "shift": _log_ratio(steps.output_change, steps.output_spread_after, missing=True),
        "motion": _log_ratio(steps.output_change, root, missing=True),
        "unreached": steps.unreached,
        "elasticity": _log_ratio(
            steps.gradient_norms[0] * steps.weight_norm, abs(steps.loss_before)
        ),
    }


def profile_after(
    retained: Sequence[float], variance: float, entropy: float, rms: float
) -> dict[str, float]:
    """The numbers of the deepest layer after the first steps.

    Args:
        retained: Share of the input's variance that is recovered at each of the three noise floors
            of the default estimator, one by one, since their mean loses what single ones know.
        variance: Share of the activations' second moment that varies over samples.
        entropy: Of their Gram matrix.
        rms: Their root mean square.

    Returns:
        ``retained_strong``, ``retained`` and ``retained_weak``, by the signal that the floor asks
        for; the logarithm of ``variance``; ``entropy``; ``size``, the logarithm of ``rms``. NaN
        where the activations are not finite.
    """
    strong, middle, weak = retained
    return {
        "retained_strong": strong,
        "retained": middle,
        "retained_weak": weak,
        "variance": math.nan if math.isnan(variance) else _log(variance),
        "entropy": entropy,
        "size": _log(rms) if math.isfinite(rms) else math.nan,
    }


def _accuracy(steps: FirstSteps, reference: float) -> float:
    room = 1 - steps.chance
    if room > 0 and math.isfinite(steps.accuracy_after):
        return max((steps.accuracy_after - steps.chance) / room, -1.0)
    if not math.isfinite(steps.loss_after):
        return -1.0
    return min(max(1 - steps.loss_after / max(reference, LEAST), -1.0), 1.0)


def _wiggle(losses: tuple[float, ...]) -> float:
    logs = [_log(abs(loss)) for loss in losses]
    changes = [abs(b - a) for a, b in itertools.pairwise(logs)]
    return math.fsum(changes) / len(changes) if changes else 0.0


def _log(value: float) -> float:
    """Within ±`LARGEST`; of NaN and infinity `LARGEST`, of what is not positive the least."""
    if not math.isfinite(value):
        return LARGEST
    return max(min(math.log(max(value, LEAST)), LARGEST), -LARGEST)


def _log_ratio(value: float, base: float, *, missing: bool = False) -> float:
    if missing and (math.isnan(value) or math.isnan(base)):
        return math.nan
    return _log(abs(value) / max(abs(base), LEAST))
