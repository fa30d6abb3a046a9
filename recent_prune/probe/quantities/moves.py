"""How far updates have moved each parameter, and what its gradient had promised."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recent_prune.probe.restoring.devices import solvable

CACHED = 2**18
"""Elements that are looked at together on a CPU: 1 MB of float32, so what is read once stays."""

PART = 2**24
"""The same on an accelerator, where more at a time is faster: 64 MB of float32."""

EXACT = 1e-15
"""Norms below are added up again in float64, since float32 loses the squares."""


@dataclass(frozen=True)
class Move:
    """Numbers of one parameter, over its elements; of complex ones over both of their parts.

    Attributes:
        count: Elements.
        weight: Norm before the updates.
        update: Norm of what it was moved by.
        gradient: Norm of the gradient that lies at it; 0 where there is none.
        product: ⟨gradient, update⟩.
    """

    count: int
    weight: float
    update: float
    gradient: float = 0.0
    product: float = 0.0


def moves(
    parameters: Iterable[nn.Parameter], before: Mapping[int, Tensor], gradients: bool = True
) -> dict[int, Move]:
    """Of each parameter, by its id.

    Each is read once, in parts: the differences of a whole model would take its memory again.

    Args:
        parameters: After the updates.
        before: Their values before, by their id, wherever they lie.
        gradients: Whether what lies in ``.grad`` is looked at, too.
    """
    several = list({id(p): p for p in parameters}.values())
    slopes = [p.grad if gradients else None for p in several]
    asked = [(p, before[id(p)], slope) for p, slope in zip(several, slopes, strict=True)]
    found = _numbers([_row(*each, torch.float32) for each in asked])
    again = [place for place, row in enumerate(found) if not _exact(row, slopes[place] is not None)]
    exact = _numbers([_row(*asked[place], torch.float64) for place in again])
    for place, row in zip(again, exact, strict=True):
        found[place] = row
    return {id(p): Move(p.numel(), *row) for p, row in zip(several, found, strict=True)}


def _exact(row: Sequence[float], with_gradient: bool) -> bool:
    return all(EXACT < norm < math.inf for norm in row[: 3 if with_gradient else 2])


def as_real(tensor: Tensor) -> Tensor:
    """Complex numbers as pairs, [..., 2]; others as they are."""
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


def _row(
    parameter: nn.Parameter,
    was: Tensor,
    gradient: Tensor | None,
    dtype: torch.dtype,
) -> Tensor:
    """Norms of weight, update and gradient, and the product of the last two, [4]."""
    flat = [None if t is None else _flat(t) for t in (parameter, was, gradient)]
    if dtype == torch.float64:  # some devices have none
        flat = [None if t is None else solvable(t) for t in flat]
    now, former, slope = flat
    assert now is not None
    assert former is not None
    size = CACHED if now.device.type == "cpu" else PART
    zero = torch.zeros((), dtype=dtype, device=now.device)
    norms, products = [], [zero]
    for start in range(0, max(len(now), 1), size):
        part = slice(start, start + size)
        weight = former[part].to(now.device, dtype)
        update = now[part].to(dtype) - weight
        norms.append([_norm(weight), _norm(update), zero])
        if slope is not None:
            steep = slope[part].to(dtype)
            norms[-1][2] = _norm(steep)
            products.append(torch.dot(steep, update))
    whole = torch.stack([_norm(torch.stack(column)) for column in zip(*norms, strict=True)])
    return torch.cat([whole, torch.stack(products).sum().reshape(1)])


def _flat(tensor: Tensor) -> Tensor:
    dense = tensor.detach().to_dense() if tensor.layout != torch.strided else tensor.detach()
    return as_real(dense).reshape(-1)


def _norm(tensor: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(tensor)
    return norm


def _numbers(rows: list[Tensor]) -> list[list[float]]:
    """All at once: on a GPU every transfer waits."""
    if not rows:
        return []
    found: list[list[float]] = torch.stack([row.to(rows[0].device) for row in rows]).tolist()
    return found
