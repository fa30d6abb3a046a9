"""A trial's first steps, made and undone."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from recent_prune.probe.batches.walk import Walk
from recent_prune.probe.first_steps.judging import Judged, judged, output_change, repeatable
from recent_prune.probe.first_steps.objective import arguments_of, objective
from recent_prune.probe.first_steps.optimizers import checked, prepared, starts_slowly
from recent_prune.probe.first_steps.result import FirstSteps
from recent_prune.probe.first_steps.stepping import Trace, make_steps
from recent_prune.probe.first_steps.training import Training
from recent_prune.probe.quantities.gradients import GradientProfile
from recent_prune.probe.restoring.bound import bound_restored
from recent_prune.probe.restoring.interrupts import putting_back
from recent_prune.probe.restoring.isolation import (
    accelerators,
    forked_random_states,
    set_to_train,
)
from recent_prune.probe.restoring.memory import keep_freed_memory
from recent_prune.probe.restoring.objects import attributes_restored
from recent_prune.probe.restoring.training_state import Values, model_restored


def check_training(model: nn.Module, walk: Walk, training: Training) -> None:
    """Refuse what can be seen before the model runs: the optimizer, and batches without a target.

    An optimizer that a function makes is looked at when the steps begin.

    Args:
        model: Unwrapped.
        walk: Batches to train on.
        training: How it trains.

    Raises:
        TypeError: If a batch does not tell how the model is called with it.
        ValueError: If the optimizer is over another model's parameters, or a target is missing.
    """
    if isinstance(training.optimizer, Optimizer):
        checked(training.optimizer, model)
    arguments_of(model, walk.trained[0], training)


@contextmanager
def after_first_steps(
    model: nn.Module, walk: Walk, training: Training, seed: int
) -> Iterator[tuple[FirstSteps, GradientProfile]]:
    """Inside, the model has made its first steps; on leaving, everything is as it was.

    Put back, also after an error: parameters, gradients, ``requires_grad``, modes, buffers,
    optimizer, gradient scaler, a loss that is a module, and the random states of Python, NumPy and
    PyTorch. A model in evaluation mode is set to training mode; of one in training mode, parts in
    evaluation mode stay there, as they would in the user's loop.

    Args:
        model: Unwrapped.
        walk: Batches to train on, and to judge by.
        training: How it trains.
        seed: Of everything random.

    Yields:
        What the steps showed, and how the first one's gradients arrived.

    Raises:
        Exception: As :func:`make_steps`, and what optimizer and scheduler raise.
    """
    start = time.perf_counter()
    keep_freed_memory()
    ask = objective(training)
    with undone(model, training, seed) as (optimizer, before):
        was = judged(model, walk.judged, ask, training.loss, seed, "the probe, before the steps")
        same = repeatable(model, walk.judged[0], ask, seed, was)
        trace = make_steps(model, optimizer, walk.trained, ask, training, before)
        for parameter in model.parameters():
            parameter.grad = None  # the probe needs none
        now = judged(
            model, walk.judged, ask, training.loss, seed, "the probe, after the steps", False
        )
        rates = [_rate_of(group) for group in optimizer.param_groups]
        steps = FirstSteps(
            made=training.steps,
            budget=training.budget,
            learning_rate=max(rates),
            losses=tuple(trace.losses),
            gradient_norms=tuple(trace.gradient_norms),
            weight_norm=trace.weight,
            first_update=trace.first_update,
            update=trace.update,
            update_ratios=trace.update_ratios,
            first_order=trace.first_order,
            unreached=trace.unreached,
            constant_loss=was.constant,
            loss_before=was.loss,
            loss_after=now.loss,
            accuracy_before=was.right.accuracy,
            accuracy_after=now.right.accuracy if math.isfinite(now.loss) else math.nan,
            chance=was.right.chance,
            output_spread_before=was.spread,
            output_spread_after=now.spread,
            output_change=output_change(was, now),
            repeatable=same,
            nonfinite_step=_first_nonfinite(trace, now),
            slow_start=starts_slowly(optimizer),
            step_seconds=trace.seconds,
            loading_seconds=walk.seconds * training.accumulate,
            seconds=time.perf_counter() - start,
        )
        assert trace.gradients is not None  # there is a first step
        yield steps, trace.gradients


@putting_back
def undone(
    model: nn.Module, training: Training, seed: int, factor: float = 1.0
) -> Iterator[tuple[Optimizer, Values]]:
    """A model to train, and all that comes back on leaving, see `after_first_steps`.

    Args:
        model: Unwrapped.
        training: How it trains.
        seed: Of everything random.
        factor: Of its learning rates.

    Yields:
        The optimizer, and the parameters' values before, by their id.
    """
    scaler = training.scaler
    with (
        forked_random_states(accelerators(model), seed),
        _others_restored(model, training),
        model_restored(model, trained=True) as before,
        torch.inference_mode(False),
        nullcontext() if scaler is None else attributes_restored(scaler),
        prepared(model, training, factor) as optimizer,
    ):
        if not model.training:
            set_to_train(model)
        yield optimizer, before


@contextmanager
def _others_restored(model: nn.Module, training: Training) -> Iterator[None]:
    """Losses that learn or count, and what else runs beside: a mean of the model, a schedule."""
    loss, optimizer = training.loss, training.optimizer
    known = vars(optimizer) if isinstance(optimizer, Optimizer) else {}
    hooks = (known[name] for name in known if name.endswith("_hooks"))
    called = [hook for registered in hooks for hook in registered.values()]
    whole = nn.Module()
    if isinstance(loss, nn.Module):
        whole = loss
    else:
        called.append(loss)
    with model_restored(whole, trained=True), bound_restored(model, [training.call, *called]):
        yield


def _first_nonfinite(trace: Trace, after: Judged) -> int | None:
    """The first step, from 1 on, whose loss, gradient or outcome is not finite."""
    for number, pair in enumerate(zip(trace.losses, trace.gradient_norms, strict=True), start=1):
        if not all(map(math.isfinite, pair)):
            return number
    return None if math.isfinite(after.loss) else len(trace.losses)


def _rate_of(group: dict[str, Any]) -> float:
    rate = group.get("lr")
    return math.nan if rate is None else float(rate)  # none of an optimizer that finds its own
