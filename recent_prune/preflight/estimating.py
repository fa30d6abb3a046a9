"""The verb: `preflight`."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from recent_prune.preflight.counting import Part
from recent_prune.preflight.faking import ModelFactory
from recent_prune.preflight.measuring import measured
from recent_prune.preflight.notes import notes_on
from recent_prune.preflight.peaks import Counted, Peak
from recent_prune.preflight.result import Estimate, PreflightResult
from recent_prune.preflight.surroundings import empty_caches, is_left, surroundings_restored
from recent_prune.preflight.tracing import traced
from recent_prune.preflight.trial import Trial, asked
from recent_prune.probe.batches.calling import Call
from recent_prune.probe.batches.inputs import Inputs
from recent_prune.probe.first_steps.training import Training
from recent_prune.probe.restoring.isolation import (
    accelerators,
    forked_random_states,
    modules_restored,
)


@dataclass(frozen=True)
class Error:
    """How far an estimate of the memory may be off.

    Attributes:
        below: Relative, by which the truth may be less.
        above: Relative, by which it may be more.
        more: Bytes that it may be more besides, whatever the model.

    What libraries keep may be there already, so that the truth may be less by all of it.
    """

    below: float
    above: float
    more: int

    def of(self, peak: Peak) -> Estimate:
        """The interval around an estimate."""
        sure = peak.memory - peak.parts[Part.LIBRARIES]
        high = peak.memory * (1 + self.above) + self.more
        return Estimate(peak.memory, sure * (1 - self.below), high)


ERRORS = {("traced", "cpu"): Error(0.1, 0.1, 3 * 2**24)}
"""What ``benchmarks/preflight`` found: on a CPU no estimate without what libraries keep was above
what was measured, and all were less than a tenth and 48 MiB below it."""

LEFT = (
    "Tensors without values stayed somewhere after the preflight, such as in a cache of a library "
    "that model or loss fill as they run: training may fail there. Give the model after it has run "
    "once, or ask for no preflight."
)

UNKNOWN_ERROR = Error(0.25, 0.5, 2**28)
"""The same of what has not been measured: GPUs, and batches that were extrapolated."""


def preflight(
    model: nn.Module | ModelFactory,
    batches: Inputs,
    training: Training,
    *,
    device: str | torch.device | None = None,
    call: Call | None = None,
    seed: int = 0,
) -> PreflightResult:
    """What a training step will take, before anything is allocated.

    Three training steps are made on fake tensors, which have shapes and no values: forward and
    backward pass and the optimizer's update run as they will, and everything that they make is
    counted. Where fake tensors do not go (shapes that depend on values, operations of others), two
    batches of a few samples are really trained on and all is put back, as in
    :func:`recent_prune.probe.probe`; ``result.method`` says so.

    Of what kernels allocate for themselves, and libraries keep, convolutions on a CPU are counted.
    Not counted are what a GPU's libraries hold (the CUDA context, workspaces), fragmentation, and
    what the process holds besides; ``result.notes`` names what of ``torch.compile`` and of
    distributed training is not counted. The model's outputs are taken as let go of when the loss
    is known, ``loss(model(x), y).backward()``.

    Args:
        model: At its initialization; it stays as it is. Or a function without arguments that builds
            it: it is then built without values, so that it may be larger than this machine.
        batches: As of :func:`recent_prune.probe.probe`; one batch is taken.
        training: How it trains. Steps, scheduler and gradient scaler play no part.
        device: Where it will train, such as ``"cuda"``, which need not be here. Default: where the
            model lies, and the CPU for a function.
        call: As of :func:`recent_prune.probe.probe`; or say it in ``training``.
        seed: Of everything random.

    Raises:
        TypeError: If an argument is of the wrong type, or a batch fits no convention.
        ValueError: If the device is unknown, a target is missing, or the model has no parameters.
        Exception: Whatever model, loss or optimizer raise; with a note where fake tensors do not go
            and the model cannot be run here either, since it is on ``meta`` or too large.

    Example:
        >>> import torch, recent_prune as rp
        >>> training = rp.Training(
        ...     torch.nn.functional.cross_entropy, lambda p: torch.optim.Adam(p, 1e-3)
        ... )
        >>> batch = (torch.zeros(128, 64), torch.zeros(128, dtype=torch.long))
        >>> large = lambda: rp.networks.mlp(64, 10, depth=8, width=65_536)
        >>> result = rp.preflight(large, [batch], training)
        >>> result.fits(80e9)
        False
    """
    start = time.perf_counter()
    trial = asked(model, batches, training, device, call, seed)
    method, counted = _counted(trial, seed)
    error = ERRORS.get((method, trial.device.type), UNKNOWN_ERROR)
    peak = counted.at(trial.size)
    return PreflightResult(
        device=trial.device.type,
        method=method,
        batch_size=trial.size,
        memory=error.of(peak),
        parts={str(part): size for part, size in peak.parts.items()},
        growth=counted.growth,
        above=error.above,
        operations=peak.operations,
        budget=training.budget,
        notes=(*notes_on(model, trial.device, trial.training), *counted.notes),
        seconds=time.perf_counter() - start,
    )


def _counted(trial: Trial, seed: int) -> tuple[str, Counted]:
    model, training = trial.model, trial.training
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    called = [model, training.loss, training.optimizer, training.call]
    with _untouched(model, seed):
        try:
            with surroundings_restored(called):
                counted, is_holding = traced(trial, mode)
        except BaseException as why:
            empty_caches()
            if not isinstance(why, Exception):
                raise
            with surroundings_restored(called):
                return "measured", measured(trial, mode, why, seed)
    if is_left(is_holding):
        warnings.warn(LEFT, stacklevel=3)
        counted = replace(counted, notes=(*counted.notes, LEFT))
    return "traced", counted


@contextmanager
def _untouched(model: nn.Module | ModelFactory, seed: int) -> Iterator[None]:
    """Random states, and of a model what a loss or a hook that refers to it could reach."""
    if not isinstance(model, nn.Module):
        with forked_random_states((), seed):
            yield
        return
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    with forked_random_states(accelerators(model), seed), modules_restored(model):
        try:
            yield
        finally:
            for parameter, gradient in gradients:
                parameter.grad = gradient
