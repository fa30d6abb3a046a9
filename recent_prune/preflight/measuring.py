"""A training step on a few real samples, where fake tensors do not go."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from recent_prune.preflight.batch_sizes import resized
from recent_prune.preflight.counting import MemoryCounter, block_of
from recent_prune.preflight.faking import ModelFactory, built
from recent_prune.preflight.limits import room_of
from recent_prune.preflight.peaks import Counted
from recent_prune.preflight.stepping import CountedSteps, peaks_of
from recent_prune.preflight.trial import Trial, check_model
from recent_prune.probe.batches.raising import raising
from recent_prune.probe.batches.samples import count_of
from recent_prune.probe.first_steps.trial import undone
from recent_prune.probe.restoring.isolation import device_of
from recent_prune.probe.watching.modules import unwrapped

SMALL = (2, 4)
"""Samples of the real batches."""

STATIC = 5
"""Times the parameters that a real step takes at least: parameters, their copy, gradients, Adam."""


def measured(trial: Trial, mode: FakeTensorMode, why: Exception, seed: int) -> Counted:
    """Count real training steps of two small batches, and put everything back.

    Args:
        trial: What is asked.
        mode: In which what a function builds is looked at without values.
        why: Fake tensors did not go.
        seed: Of everything random.

    Raises:
        Exception: ``why``, with a note, where the model has no values or is too large to be run
            here; else whatever model, loss or optimizer raise.
    """
    model = _real(trial, mode, why)
    small, large = (resized(trial.batch, min(size, trial.size)) for size in SMALL)
    counter = MemoryCounter(block_of(trial.device))
    plain = replace(trial.training, scaler=None, scheduler=None, learning_rate=None)
    with undone(model, plain, seed) as (optimizer, _):
        loop = CountedSteps(model, replace(plain, optimizer=optimizer), counter, trial.device)
        if small is None or large is None or trial.size <= min(SMALL):
            peaks = {trial.size: loop.step(trial.batch)}
        else:
            peaks = peaks_of(loop, large, count_of(large), count_of(small))
    told = " ".join(f"{type(why).__name__}: {why}".split())[:300]
    sizes = " and ".join(str(size) for size in sorted(peaks))
    note = f"Fake tensors do not go ({told}), so real batches of {sizes} samples were counted."
    return Counted(peaks, (note,))


def _real(trial: Trial, mode: FakeTensorMode, why: Exception) -> nn.Module:
    """The model, if it can be run here; what a function builds, if that is known to be small."""
    model = trial.model
    if not isinstance(model, nn.Module):
        empty = unwrapped(_without_values(model, mode, why))
        check_model(empty)
        _check_room(empty, torch.device("cpu"), why)
        with raising("the function that builds the model"):
            model = unwrapped(model())
    if any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers())):
        why.add_note(
            "Raised without values: if it is for that, build the model on another device than meta."
        )
        raise why
    _check_room(model, device_of(model), why)
    return model


def _without_values(factory: ModelFactory, mode: FakeTensorMode, why: Exception) -> nn.Module:
    """What a function builds, of which the size is wanted."""
    try:
        return built(factory, mode, torch.device("cpu"))
    except Exception:
        why.add_note(
            "Raised without values: if it is for that, build the model and give it instead of the "
            "function."
        )
        raise why from None


def _check_room(model: nn.Module, place: torch.device, why: Exception) -> None:
    room = room_of(place, None if next(model.parameters()).is_meta else model)
    needed = STATIC * sum(p.numel() * p.element_size() for p in model.parameters())
    if room is not None and needed > room.free:
        why.add_note(
            f"Raised without values; a real step would take at least {needed:,} bytes, and "
            f"{room.free:,} are free on {place}."
        )
        raise why
