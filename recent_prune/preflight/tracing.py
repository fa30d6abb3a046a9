"""A training step on fake tensors, which have shapes and no values."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from recent_prune.preflight.counting import MemoryCounter, block_of
from recent_prune.preflight.faking import built, faked
from recent_prune.preflight.notes import notes_on_wrapper
from recent_prune.preflight.peaks import Counted
from recent_prune.preflight.stepping import CountedSteps, peaks_of
from recent_prune.preflight.trial import Trial, check_model
from recent_prune.probe.first_steps.objective import arguments_of
from recent_prune.probe.restoring.isolation import device_of, set_to_train
from recent_prune.probe.watching.modules import unwrapped

COMMON = {"float16", "bfloat16", "float32", "float64", "complex64", "complex128"}
"""Types of parameters with which PyTorch's layers run."""


def traced(trial: Trial, mode: FakeTensorMode) -> tuple[Counted, Callable[[], bool]]:
    """Count a training step of a trial with nothing allocated.

    Args:
        trial: What is asked.
        mode: Of all tensors without values.

    Returns:
        What was counted, and a function that says whether some of it is still held.

    Raises:
        Exception: Whatever model, loss or optimizer raise, above all where they ask for values.
    """
    available = _is_here(trial.device)
    place = trial.device if available else torch.device("cpu")
    model, notes = trial.model, tuple[str, ...]()
    if not isinstance(model, nn.Module):
        wrapped = built(model, mode, place)
        model = unwrapped(wrapped)
        notes = (*notes_on_wrapper(wrapped), *_where_it_lies(model, trial.device))
        check_model(model)
    arguments_of(model, trial.batch, trial.training)
    model, training = faked(model, trial.training, mode, place)
    counter = MemoryCounter(block_of(trial.device))
    with mode, _quiet():
        set_to_train(model)
        loop = CountedSteps(model, training, counter, trial.device)
        peaks = peaks_of(loop, trial.batch, trial.size, _other_size(trial.size))
    kind = trial.device.type
    missing = f"There is no {kind} here: operations are those that a CPU would be given."
    counted = Counted(peaks, (*notes, *_notes_on(model), *(() if available else (missing,))))
    return counted, counter.is_holding


def _where_it_lies(model: nn.Module, asked: torch.device) -> tuple[str, ...]:
    kind = device_of(model).type
    told = f"The function builds its model on {kind}, and {asked.type} is asked about: `device`."
    return () if kind in (asked.type, "cpu", "meta") else (told,)


def _notes_on(model: nn.Module) -> tuple[str, ...]:
    rare = {str(p.dtype).removeprefix("torch.") for p in model.parameters()} - COMMON
    told = f"Of {', '.join(sorted(rare))} fake tensors do not tell whether a step runs with them."
    return (told,) if rare else ()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without a traceback in the log: what fails is raised, or measured instead."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _other_size(size: int) -> int:
    # Smaller, since a batch that is too large is to be cut; but batch normalisation wants two.
    return size // 4 if size >= 8 else 2 * size


def _is_here(device: torch.device) -> bool:
    if device.type == "cpu":
        return True
    module = getattr(torch, device.type, None)
    available = getattr(module, "is_available", None)
    return bool(available()) if callable(available) else False
