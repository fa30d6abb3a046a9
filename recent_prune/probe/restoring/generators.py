"""Random number generators that objects of the user's hold: samplers, data sets, optimizers."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch.utils.data import Sampler

PARTS = ("sampler", "batch_sampler", "dataset", "datasets")
"""Attributes in which loaders, samplers and data sets hold each other."""

DEEPEST = 4
"""Data sets within data sets."""

_COUNTS = (int, float, str, type(None))


def kept(value: Any) -> Callable[[], None] | None:
    """A function that puts a generator back to where it is; None for what is no generator."""
    if isinstance(value, torch.Generator):
        state = value.get_state()
        return lambda: (value.set_state(state), None)[1]
    if isinstance(value, np.random.Generator):
        bits, known = value.bit_generator, value.bit_generator.state
        return lambda: setattr(bits, "state", known)
    if isinstance(value, np.random.RandomState):
        legacy = value.get_state()
        return lambda: value.set_state(legacy)
    if isinstance(value, random.Random) and not isinstance(value, random.SystemRandom):
        python = value.getstate()
        return lambda: value.setstate(python)
    return None


def kept_in(owner: object, depth: int = DEEPEST) -> list[Callable[[], None]]:
    """What puts back generators of a loader, its samplers and data sets, and counts of samplers."""
    own = getattr(owner, "__dict__", None)
    if not isinstance(own, dict):
        return []
    found = [put for value in own.values() if (put := kept(value)) is not None]
    # Not of data sets: where those load what they hold, their flags belong to it.
    if isinstance(owner, Sampler):
        counts = {name: value for name, value in own.items() if isinstance(value, _COUNTS)}
        found.append(lambda: own.update(counts))
    if depth:
        for name in PARTS:
            part = getattr(owner, name, None)
            parts: Iterable[Any] = part if isinstance(part, (list, tuple)) else [part]
            for each in parts:
                found += kept_in(each, depth - 1)
    return found
