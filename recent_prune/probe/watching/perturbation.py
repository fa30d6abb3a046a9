"""Slightly perturbed samples, whose activations show how a network stretches its inputs."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

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
    if not batch.is_floating_point():
        return batch, 0, float("nan")
    some = batch[: min(count, len(batch))]
    precise = some.to(torch.promote_types(some.dtype, torch.float32))
    # Not PyTorch's generator: with the same seed a model's weights would be the same numbers.
    numbers = np.random.default_rng(0).standard_normal(some.shape)
    direction = torch.from_numpy(numbers).to(precise.dtype).to(precise.device)
    moved = (precise + SIZE * precise.square().mean().sqrt() * direction).to(some.dtype)
    size = float((solvable(moved).double() - solvable(some).double()).square().mean())
    return torch.cat([batch, moved]), len(some), size
