"""Slightly perturbed samples, whose activations show how a network stretches its inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recent_prune.probe.batches.moving import with_items
from recent_prune.probe.quantities.moves import as_real
from recent_prune.probe.restoring.devices import solvable

PERTURBED = 16
"""Samples that are run a second time, perturbed: a tenth of the default probe."""

SIZE = 1e-2
"""Root mean square of the perturbation relative to that of the samples. In float32 it can fade by
23 e-foldings of its square before rounding errors hide it, and grow by 9."""


def with_perturbed(batch: Tensor, count: int) -> tuple[Tensor, int, float]:
    """Append perturbed copies of the first samples to a batch.

    Args:
        batch: [n, …].
        count: How many at most.

    Returns:
        The batch [n + p, …], p (0 for tokens), and the mean square of the perturbation (NaN then).
    """
    if not (batch.is_floating_point() or batch.is_complex()):
        return batch, 0, float("nan")
    some = batch[: min(count, len(batch))]
    moved = _moved(some, 0)
    return torch.cat([batch, moved]), len(some), _size([(some, moved, None)])


def with_perturbed_copies(
    batch: Any, samples: int, inputs: Sequence[Tensor], count: int, masks: Sequence[Tensor] = ()
) -> tuple[Any, int, float]:
    """Append copies of the first samples to all tensors of a batch, those of the inputs perturbed.

    Args:
        batch: Tensors with an axis of samples in first place, in tuples, lists and mappings.
        samples: In it.
        inputs: Which of its tensors are perturbed.
        count: How many samples at most.
        masks: Which positions are real, [samples, t] each.

    Returns:
        As :func:`with_perturbed`; the batch as it is where it holds no such input, or anything
        that cannot be appended to.
    """
    places = {id(tensor): number for number, tensor in enumerate(inputs)}
    pairs: list[tuple[Tensor, Tensor, Tensor | None]] = []

    def appended(value: Any) -> Any:
        if isinstance(value, Tensor):
            if value.dim() == 0 or len(value) != samples:
                raise _CannotAppendError
            some = value[: min(count, samples)]
            if id(value) in places:
                real = _real(some, masks)
                moved = _moved(some, places[id(value)], real)
                pairs.append((some, moved, real))
                some = moved
            return torch.cat([value, some])
        if isinstance(value, Mapping):
            return with_items(value, {key: appended(item) for key, item in value.items()})
        if type(value) in (tuple, list):
            return type(value)(appended(item) for item in value)
        if value is None or isinstance(value, (bool, int, float)):
            return value
        raise _CannotAppendError

    try:
        whole = appended(batch)
    except _CannotAppendError:
        pairs.clear()
    if not pairs or count == 0:
        return batch, 0, float("nan")
    return whole, min(count, samples), _size(pairs)


class _CannotAppendError(Exception):
    pass


def _real(some: Tensor, masks: Sequence[Tensor]) -> Tensor | None:
    """Which numbers stand at real positions, [p, t, 1, …]; None where no mask says anything."""
    fitting = [mask for mask in masks if some.dim() > 2 and some.shape[1] == mask.shape[1]]
    if not fitting:
        return None
    mask = fitting[0]
    return mask[: len(some)].reshape(*some.shape[:2], *[1] * (some.dim() - 2))


def _moved(some: Tensor, seed: int, real: Tensor | None = None) -> Tensor:
    if some.is_complex():
        pairs = None if real is None else real[..., None]
        return torch.view_as_complex(_moved(torch.view_as_real(some), seed, pairs))
    precise = some.to(torch.promote_types(some.dtype, torch.float32))
    # Not PyTorch's generator: with the same seed a model's weights would be the same numbers.
    numbers = np.random.default_rng(seed).standard_normal(some.shape)
    direction = torch.from_numpy(numbers).to(precise.dtype).to(precise.device)
    if real is None:
        return (precise + SIZE * precise.square().mean().sqrt() * direction).to(some.dtype)
    # What stands at padded positions may be anything.
    scale = precise.masked_fill(~real, 0).square().sum() / real.expand_as(precise).sum()
    return torch.where(real, precise + SIZE * scale.sqrt() * direction, precise).to(some.dtype)


def _size(pairs: Sequence[tuple[Tensor, Tensor, Tensor | None]]) -> float:
    """Mean square of the perturbation of all of them, at real positions."""
    total, count = 0.0, 0
    for some, moved, real in pairs:
        square = (solvable(as_real(moved)).double() - solvable(as_real(some)).double()).square()
        if real is not None:
            real = solvable(real[..., None] if some.is_complex() else real).expand_as(square)
            square = square[real]
        total, count = total + float(square.sum()), count + square.numel()
    return total / count
