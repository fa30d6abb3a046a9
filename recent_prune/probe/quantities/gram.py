"""What is kept of a layer's activations: a few numbers a pair of samples, whatever their size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

DIRECTIONS = 64
"""The Gram entropy takes this many samples at most: its eigenvalues cost n³ a layer."""

MAX_FEATURES = 2048
"""Of larger activations (and inputs) as many features stand for all. With n samples, more than n
features add precision, not information."""


class LayerGram(NamedTuple):
    """Sufficient statistics of the activations of one layer, n samples of d features.

    They are computed without a branch on values, so the same code runs under ``torch.vmap``, and
    on a GPU nothing waits for a result. Activations that are not finite show in ``scale``.

    Attributes:
        kernel: With H the activations, centred and divided by ``scale``: H / √d [n, d] where
            d < n, otherwise K = H Hᵀ / d [n, n].
        scale: Largest absolute activation, []; NaN or infinite where any is.
        second_moment: Mean square of the activations divided by ``scale``, [].
        directions: Gram matrix of a part of the rows, divided by ``scale`` and each centred by its
            own mean, [g, g].
        variance: Mean square of H, [].
        cross: H_shown Hᵀ / d, [k, n].
        response: Mean square of how far the activations move for the perturbed samples, in units
            of ``scale``, []; NaN without such samples.
    """

    kernel: Tensor
    scale: Tensor
    second_moment: Tensor
    directions: Tensor
    variance: Tensor
    cross: Tensor
    response: Tensor


class Seen(NamedTuple):
    """The activations of one layer, before they are reduced.

    Attributes:
        rows: :func:`feature_rows` of them, [n + shown + perturbed, d].
        low: Least one of the n samples, all of their features, [].
        high: Largest one, [].
    """

    rows: Tensor
    low: Tensor
    high: Tensor


def seen(activation: Tensor, n: int, max_features: int) -> Seen:
    """Activations [n + …, …], of which the first n samples count."""
    # What is only shown, or perturbed, must not change the numbers.
    extremes = activation[:n].aminmax()
    return Seen(feature_rows(activation, max_features), extremes.min, extremes.max)


def layer_gram(activation: Tensor, shown: int, max_features: int, perturbed: int = 0) -> LayerGram:
    """Reduce activations to what the estimator needs.

    Args:
        activation: [n + shown + perturbed, …].
        shown: How many samples after the first n are only to be reconstructed.
        max_features: See :func:`feature_rows`.
        perturbed: How many samples at the end are the first ones, slightly perturbed.
    """
    n = len(activation) - shown - perturbed
    (gram,) = layer_grams([seen(activation, n, max_features)], shown, perturbed)
    return gram


def layer_grams(layers: Sequence[Seen], shown: int, perturbed: int) -> list[LayerGram]:
    """:func:`layer_gram` of layers of one shape, all at once: on a GPU every call costs."""
    rows = torch.stack([layer.rows for layer in layers])
    low = torch.stack([layer.low for layer in layers])
    high = torch.stack([layer.high for layer in layers])
    # At least float32, also for the extremes: the largest bfloat16 is finite in both.
    scale = torch.maximum(high, -low).to(rows.dtype)
    # Scaled, so that neither sums nor squares overflow or vanish.
    rows /= scale.clamp_min(torch.finfo(rows.dtype).tiny)[:, None, None]
    d, n = rows.shape[2], rows.shape[1] - shown - perturbed
    # The first feature taken off, equal features are exactly zero.
    some = rows[:, : n : -(-n // DIRECTIONS)]
    some = some - some[:, :, :1]
    some -= some.mean(dim=2, keepdim=True)
    mean = rows[:, :n].mean(dim=1, keepdim=True)
    rows -= mean
    fit, others, moved = rows.split([n, shown, perturbed], dim=1)
    narrow = d < n
    kernel = fit / math.sqrt(d) if narrow else (fit @ fit.mT).div_(d)
    variance = (
        fit.square().mean(dim=(1, 2)) if narrow else kernel.diagonal(dim1=1, dim2=2).mean(dim=1)
    )
    together = LayerGram(
        kernel=kernel,
        scale=scale,
        second_moment=variance + mean.square().mean(dim=(1, 2)),
        directions=some @ some.mT,
        variance=variance,
        cross=others @ fit.mT / d,
        response=(moved - fit[:, :perturbed]).square().mean(dim=(1, 2)),
    )
    return [LayerGram(*parts) for parts in zip(*(t.unbind() for t in together), strict=True)]


def feature_rows(tensor: Tensor, max_features: int) -> Tensor:
    """[n, …] → [n, d], at least in float32, with d at most ``max_features``.

    Of larger maps as many features are taken, one from each of as many equal stretches, at places
    drawn once from a fixed seed. They stand for all: a mean over a sample of features estimates
    the mean over all of them, so scales and noise floors keep their meaning, which they would not
    after pooling.
    """
    rows = tensor.flatten(1)
    if rows.shape[1] > max_features:
        rows = rows.index_select(1, _chosen(rows.shape[1], max_features, rows.device))
    return rows.to(torch.promote_types(rows.dtype, torch.float32))


@lru_cache(maxsize=64)
def _chosen(features: int, count: int, device: torch.device) -> Tensor:
    """Index [count] of features, sorted."""
    # NumPy's generator: PyTorch's are not to be called under vmap.
    places = np.arange(count) + np.random.default_rng(0).random(count)
    index = (places * (features / count)).astype(np.int64).clip(max=features - 1)
    return torch.from_numpy(index).to(device)
