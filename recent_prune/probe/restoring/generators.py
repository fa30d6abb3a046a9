"""Random number generators and counts of loaders, samplers, data sets and optimizers."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from types import MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler

from recent_prune.probe.restoring.contents import kept_content
from recent_prune.probe.restoring.reaching import CONTAINERS, attributes_of, is_own, reached

PARTS = (
    "_loader",
    "sampler",
    "batch_sampler",
    "dataset",
    "datasets",
    "collate_fn",
    "transform",
    "transforms",
    "target_transform",
)
"""Attributes in which loaders, samplers, data sets and what transforms their samples hold each
other."""

SEVERAL = ("datasets", "transforms")
"""Those in which lists stand for their items: one of a sampler is no more than its indices."""

MOST_PARTS = 1_000
"""Of these that are looked at."""

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


def kept_in(loader: object) -> list[Callable[[], None]]:
    """What puts back the generators that a loader reaches, its samplers, and what it counts."""
    parts = _parts(loader)
    # Those that a library holds are named here; what the user's own hold, they lead to.
    roots = [each for part, _ in parts for each in (part, *attributes_of(part).values())]
    found = [put for value in reached(roots) if (put := kept(value)) is not None]
    for part, samples in parts:
        if samples:
            found += _sampler_kept(attributes_of(part))
        elif is_own(type(part)):
            found.append(_counts_kept(attributes_of(part)))
    return found


def _parts(loader: object) -> list[tuple[object, bool]]:
    """A loader and its parts, the nearest first, and whether each is a sampler."""
    found: list[tuple[object, bool]] = []
    waiting, seen = deque([(loader, False)]), set[int]()
    while waiting and len(found) < MOST_PARTS:
        part, samples = waiting.popleft()
        part = getattr(part, "__self__", part) if isinstance(part, MethodType) else part
        if part is None or id(part) in seen:
            continue
        seen.add(id(part))
        found.append((part, samples or isinstance(part, Sampler)))
        for name in PARTS:
            with suppress(Exception):  # of a property that cannot be asked yet
                inner = getattr(part, name, None)
                inside: Any = inner
                if name not in SEVERAL or not isinstance(inner, (list, tuple)):
                    inside = [inner]
                waiting.extend((each, "sampler" in name) for each in islice(inside, MOST_PARTS))
    return found


def _sampler_kept(own: dict[str, Any]) -> list[Callable[[], None]]:
    counts = {name: value for name, value in own.items() if isinstance(value, _COUNTS)}
    contents = [put for value in own.values() if (put := kept_content(value)) is not None]
    return [lambda: own.update(counts), *contents]


def _counts_kept(own: dict[str, Any]) -> Callable[[], None]:
    """Not where anything else has changed: counts of what was loaded or read belong to it."""
    counts = {name: value for name, value in own.items() if _is_count(value)}
    known = {name: (value, _extent(value)) for name, value in own.items() if name not in counts}

    def put() -> None:
        others = {name: value for name, value in own.items() if name not in counts}
        if others.keys() == known.keys() and all(
            value is known[name][0] and _extent(value) == known[name][1]
            for name, value in others.items()
        ):
            own.update(counts)

    return put


def _is_count(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _extent(value: object) -> object:
    """What tells that a container, a tensor or a user's own object may hold something else."""
    if isinstance(value, Iterator):  # nobody knows
        return object()
    if isinstance(value, Tensor):
        return None if value.is_inference() else value._version
    if isinstance(value, CONTAINERS):
        return len(value)
    own = attributes_of(value) if is_own(type(value)) else {}
    return {name: count for name, count in own.items() if _is_count(count)}
