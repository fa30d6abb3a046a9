"""The learning rate at which a trial's first update no longer lowers its loss.

Along the optimizer's own update Δ the loss of the batch changes by f(s) = L(θ + s Δ) − L(θ), with
f(0) = 0 and f′(0) = −a, a = −⟨g, Δ⟩. The critical scale is the least s > 0 with f(s) = 0, for a
quadratic loss a / b with b = (f(s) + a s) / s² from any s; the critical rate is s times the rate of
Δ, and 2 over it the *critical sharpness* of the paper. What is computed is advice, never a verdict:
a first step that raises the loss is no sign that a network will not train (catapults,
arXiv 2003.02218).

Source: arXiv 2601.16979.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from recent_prune.probe.batches.walk import Walk
from recent_prune.probe.first_steps.objective import objective
from recent_prune.probe.first_steps.optimizers import needs_closure
from recent_prune.probe.first_steps.result import FirstSteps
from recent_prune.probe.first_steps.stepping import make_steps
from recent_prune.probe.first_steps.training import Training
from recent_prune.probe.first_steps.trial import undone
from recent_prune.probe.restoring.isolation import accelerators, forked_random_states

LEAST_HELP = 0.02
"""Share of the loss that the steps must have taken away, or the critical rate is asked for."""

PASSES = 5
"""Forward passes of the first batch at most, besides that of the step itself."""

CLOSE = 0.05
"""At which change of a guess, and share of the deepest loss on the way, it is good enough."""

FARTHEST = 100.0
"""How far a guess goes beyond what is known, at most, or where nothing is."""


def advised(
    model: nn.Module, walk: Walk, training: Training, seed: int, steps: FirstSteps
) -> FirstSteps:
    """The steps with their critical rate, if they did not help and it can be known.

    Advice must not cost a result: what raises here, at rates that are not the trial's, leaves None.
    So do several processes that train together: how many passes the search needs depends on each
    one's own batches, and a pass may wait for all of them.

    Args:
        model: Unwrapped, as it was before the steps; it comes back.
        walk: As of the steps.
        training: As of the steps.
        seed: As of the steps.
        steps: What they showed.
    """
    if steps.loss_after <= (1 - LEAST_HELP) * steps.loss_before or _is_one_of_several():
        return steps
    try:
        return replace(steps, critical_rate=critical_rate(model, walk, training, seed, steps))
    except Exception:
        return steps


def _is_one_of_several() -> bool:
    together = torch.distributed.is_available() and torch.distributed.is_initialized()
    return together and torch.distributed.get_world_size() > 1


def critical_rate(
    model: nn.Module, walk: Walk, training: Training, seed: int, steps: FirstSteps
) -> float | None:
    """The least learning rate at which the first update no longer lowers the loss of its batch.

    In six forward passes of the batch at most. The first step is made again, at the rate at which
    its gradient promises to take away the whole loss: there a rate that is far too small loses no
    digits.

    Args:
        model: Unwrapped, as it was before the steps; it comes back.
        walk: As of the steps.
        training: As of the steps.
        seed: As of the steps.
        steps: What they showed.

    Returns:
        Of the parameter group with the largest, the others in proportion; None where the gradient
        promises nothing, the update is not proportional to the rate (LBFGS), or nothing was found.
    """
    if not 0 < steps.first_order < math.inf or not 0 < abs(steps.losses[0]) < math.inf:
        return None
    factor = abs(steps.losses[0]) / steps.first_order
    ask, part = objective(training), walk.trained[: training.accumulate]
    with undone(model, training, seed, factor) as (optimizer, before):
        if needs_closure(optimizer):
            return None
        once = replace(training, steps=1)
        trace = make_steps(model, optimizer, walk.trained, ask, once, before)
        trained = [p for group in optimizer.param_groups for p in group["params"]]
        moves = []
        for parameter in trained:
            parameter.grad = None
            value = before[id(parameter)].to(parameter.device)
            moves.append((parameter, value, parameter.detach() - value))

        @torch.no_grad()
        def change(scale: float) -> float:
            for parameter, value, move in moves:
                torch.add(value, move, alpha=scale, out=parameter.data)
            with forked_random_states(accelerators(model), seed):  # the same dropout each time
                losses = [ask(model, batch).loss for batch in part]
            return float(torch.stack(losses).mean()) - trace.losses[0]

        scale = crossing(change, trace.first_order)
    return None if scale is None else scale * factor * steps.learning_rate


def crossing(change: Callable[[float], float], promised: float) -> float | None:
    """The least scale s > 0 at which a change is zero that starts as −promised · s.

    Args:
        change: Of the loss, asked for at most `PASSES` times. Infinite or NaN counts as a rise.
        promised: > 0.

    Returns:
        None if none was found.
    """
    if not 0 < promised < math.inf:
        return None
    # Of f(s) / s, a straight line for a parabola: the last point below zero, and the last above.
    low, high = (0.0, -promised), (math.inf, math.inf)
    scale, depth, before = 1.0, 0.0, None
    for asked in range(PASSES):
        found = change(scale)
        depth, below = max(depth, -found), found < 0
        other = high if below and high[0] < math.inf else low
        if below == before and high[0] < math.inf:  # an end that stays does not hold up (Illinois)
            other = other[0], other[1] / 2
        point = scale, found / scale
        guess = _along(point, other)
        near = abs(found) <= CLOSE * max(depth, CLOSE * promised * scale)
        if near and abs(guess - scale) <= CLOSE * scale:
            return guess
        low, high = (point, high) if below else (low, point)
        scale, before = _between(guess, low[0], high[0], 2.0 if asked == 0 else 3.0), below
    # Enclosed, or at least come to rest.
    known = high[0] < math.inf and (low[0] > 0 or scale > high[0] / 2)
    return scale if known else None


def _along(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Where the line through two points is zero; infinite where it never will be."""
    (x, y), (u, v) = one, other
    if not math.isfinite(y) or not math.isfinite(v):
        return math.nan
    bend = (y - v) / (x - u)
    return x - y / bend if bend > 0 else math.inf


def _between(guess: float, low: float, high: float, least: float) -> float:
    """A guess within what is known, and neither at its edges nor too far beyond them."""
    if high == math.inf:
        return min(max(guess, least * low), FARTHEST * low)
    if low == 0:
        return high / FARTHEST if math.isnan(guess) else min(max(guess, 1e-3 * high), 0.95 * high)
    span = high / low
    middle = math.sqrt(low * high) if math.isnan(guess) else guess
    return min(max(middle, low * math.pow(span, 0.05)), low * math.pow(span, 0.95))
