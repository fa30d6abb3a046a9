"""What a probe actor probes with: samples, or batches as a training loop gets them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from recent_prune.probe.batches.inputs import Inputs, loader_restored
from recent_prune.probe.batches.moving import moved
from recent_prune.probe.batches.samples import count_of
from recent_prune.probe.batches.walk import untrained, walk
from recent_prune.probe.first_steps.training import BATCH_SIZE, STEPS
from recent_prune.probe.restoring.isolation import forked_random_states
from recent_prune.ray.initialization import Config

LoadInputs = Callable[[], Inputs] | Callable[[Config], Inputs]
"""Loads them in the probe actor, once or for each trial."""

SPARE = 2
"""So many times what a default `Training` needs is collected of a loader: some take more steps."""


def takes_configuration(inputs: object) -> bool:
    """Whether inputs are a function that is called for each trial, with its configuration.

    Raises:
        TypeError: If they are a function that needs more than that.
    """
    if not callable(inputs):
        return False
    try:
        parameters = inspect.signature(inputs).parameters.values()
    except ValueError:  # some that are written in C do not tell
        return False
    needed = [
        parameter
        for parameter in parameters
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if len(needed) > 1 or any(parameter.kind == parameter.KEYWORD_ONLY for parameter in needed):
        raise TypeError(
            "`inputs` must be a function without arguments, or of the configuration alone, but got "
            f"{inputs!r}, which needs {', '.join(parameter.name for parameter in needed)}."
        )
    return len(needed) == 1


def sendable(inputs: Inputs, samples: int | None, *, trained: bool) -> Inputs:
    """Inputs as they are sent to an actor: on the CPU.

    Args:
        inputs: Tensors or batches. To train on, tensors ``(inputs, targets)`` and lists of batches
            are sent whole, and of another iterable a list, see :func:`collected`.
        samples: That the estimator needs; None for all.
        trained: Whether they are to be trained on; otherwise these samples are all that is sent.

    Raises:
        TypeError: If they are no batches.
        ValueError: If there is none, or its samples cannot be probed.
    """
    if not trained:
        with forked_random_states([], 0):
            return list(map(_on_cpu, untrained(inputs, samples).probed))
    whole = isinstance(inputs, (Tensor, tuple, list, Mapping, str)) or hasattr(inputs, "__array__")
    if isinstance(inputs, Iterable) and not whole:
        inputs = collected(inputs, samples)
    walk(inputs, STEPS, samples, BATCH_SIZE, 0)  # what cannot be probed is told at once
    sent: Inputs = _on_cpu(inputs)
    return sent


def collected(batches: Iterable[Any], samples: int | None) -> list[Any]:
    """Twice the batches that a :class:`Training` with the default steps needs, probe included.

    Where ``samples`` is None these are all there are.
    """
    met: list[Any] = []
    further = 0
    with forked_random_states([], 0), loader_restored(batches):
        for batch in batches:
            met.append(batch)
            if len(met) > SPARE * STEPS:
                further += count_of(batch)
                if samples is not None and further >= SPARE * samples:
                    break
    return met


def repeatable(inputs: Inputs, samples: int | None) -> Inputs:
    """Inputs that serve one trial after the other: those of an iterator are collected."""
    return collected(inputs, samples) if isinstance(inputs, Iterator) else inputs


def _on_cpu(value: Any) -> Any:
    if isinstance(value, Tensor):
        # Copied, since a part of a tensor would be pickled with all of it.
        return value.detach().cpu().clone()
    if isinstance(value, Mapping):
        return {name: _on_cpu(item) for name, item in value.items()}
    if type(value) in (tuple, list):
        return type(value)(_on_cpu(item) for item in value)
    return moved(value, torch.device("cpu"))
