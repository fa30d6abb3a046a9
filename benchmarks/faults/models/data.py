"""Random small data sets, and the ways in which a loop gets its batches."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.faults.models.fuses import Fuse
from benchmarks.faults.models.networks import CLASSES

FORMS = ("list", "list", "loader", "generator", "resumable", "tensors", "inputs alone")
"""A list of batches, a shuffling DataLoader with a generator of its own, a generator, a loader that
tells its position, tensors side by side, batches without a target."""

FLAWS = (
    *("NaN in inputs", "infinity in inputs", "constant", "few", "single sample", "no batch"),
    *("large", "tiny", "target out of range", "NaN in targets", "wrong type", "text", "empty"),
)


def drawn_samples(draw: random.Random, kind: str, width: int, count: int) -> tuple[Tensor, ...]:
    """Inputs of a kind of `networks.KINDS`, [count, …], one or two."""
    if kind == "tokens":
        return (torch.randint(0, width, (count, draw.randint(2, 5))),)
    if kind == "complex":
        return (torch.randn(count, width, dtype=torch.complex64),)
    if kind == "image":
        return (torch.randn(count, width, draw.randint(3, 5), 4),)
    if kind == "sequence":
        return (torch.randn(count, draw.randint(2, 4), width),)
    first = torch.randn(count, width) @ torch.randn(width, width)  # some of it can be recovered
    return (first, torch.randn(count, width)) if kind in ("two", "mapping") else (first,)


def flawed(inputs: tuple[Tensor, ...], target: Tensor, flaw: str) -> tuple[Any, ...]:
    """Inputs and a target with something wrong about them."""
    first, *others = inputs
    if flaw == "constant":
        first = first[:1].expand_as(first).clone()
    if flaw == "wrong type":
        first = first.double() if first.is_floating_point() else first.bool()
    if first.is_floating_point() or first.is_complex():
        if flaw.endswith("in inputs"):
            first[len(first) // 2] = float("nan" if flaw.startswith("NaN") else "inf")
        first = first * {"large": 1e30, "tiny": 1e-30}.get(flaw, 1.0)
    if flaw == "target out of range" and not target.is_floating_point():
        target = target + CLASSES
    if flaw == "NaN in targets" and target.is_floating_point():
        target = target * float("nan")
    return first, *others, target


class Resumable:
    """A loader that tells its position."""

    def __init__(self, batches: list[Any]) -> None:
        self.batches, self.place = batches, 0

    def __iter__(self) -> Iterator[Any]:
        """From where it stands."""
        while self.place < len(self.batches):
            self.place += 1
            yield self.batches[self.place - 1]
        self.place = 0

    def state_dict(self) -> dict[str, int]:
        """Its position."""
        return {"place": self.place}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go there."""
        self.place = state["place"]


class Fused:
    """Batches, before each of which a fuse may burn; counts how many were asked for."""

    def __init__(self, batches: Any, fuse: Fuse) -> None:
        self.batches, self.fuse, self.asked = batches, fuse, 0

    def __iter__(self) -> Iterator[Any]:
        """What is inside."""
        for batch in self.batches:
            self.asked += 1
            self.fuse.raising("loader")
            yield batch


def batches_of(parts: tuple[Any, ...], size: int, kind: str, *, alone: bool) -> list[Any]:
    """Batches as a loop gets them: (inputs, …, target), inputs alone, or mappings."""
    columns = [part.split(size) for part in parts]
    rows = list(zip(*columns, strict=True))
    if kind == "mapping":
        return [{"x": a, "second": b, "labels": y} for a, b, y in rows]
    return [(row[0] if len(row) == 2 else row[:-1]) if alone else row for row in rows]


def in_form(parts: tuple[Any, ...], form: str, size: int, kind: str, fuse: Fuse) -> Any:
    """The same as a loop, or a user, has it."""
    if form == "tensors":
        return parts
    batches = batches_of(parts, size, kind, alone=form == "inputs alone")
    if form == "loader":
        generator = torch.Generator().manual_seed(5)
        dataset = TensorDataset(*parts)
        return DataLoader(dataset, batch_size=size, shuffle=True, generator=generator)
    if form == "generator":
        return iter(Fused(batches, fuse))
    if form == "resumable":
        return Resumable(batches)
    return Fused(batches, fuse) if fuse.place == "loader" else batches
