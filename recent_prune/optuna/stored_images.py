"""Reconstructions in a trial's user attributes: small, and enough to be looked at."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recent_prune.probe import ProbeResult

MOST_SAMPLES = 4
MOST_LAYERS = 7
MOST_FEATURES = 4096
"""Of a sample, 64 × 64 grey levels: a trial takes at most 170 KiB then, and 9 KiB with two of 784
(MNIST) and seven layers."""


@dataclass(frozen=True)
class StoredImages:
    """Samples, and what some layers still know of them, to 8 bits.

    Attributes:
        inputs: [k, …].
        by_layer: [l, k, …]; what was not finite is as the smallest input.
        layers: Names of the layers, shallow to deep.
        retained: Share of the input's variance at each.
    """

    inputs: Tensor
    by_layer: Tensor
    layers: tuple[str, ...]
    retained: tuple[float, ...]


def check(samples: Tensor) -> None:
    """Whether samples are small enough to be stored.

    Raises:
        TypeError: If they are no tensor.
        ValueError: If they are no samples of numbers, too many or too large.
    """
    if not isinstance(samples, Tensor):
        raise TypeError(f"`reconstruct` must be a tensor, but got {type(samples).__name__}.")
    shape = tuple(samples.shape)
    if samples.dim() < 2 or not samples.is_floating_point():
        raise ValueError(
            "`reconstruct` must be floating samples [k, …] to be stored in a study, but got shape "
            f"{shape} of {samples.dtype}."
        )
    if not 0 < len(samples) <= MOST_SAMPLES or samples[0].numel() > MOST_FEATURES:
        raise ValueError(
            f"`reconstruct` must be at most {MOST_SAMPLES} samples of at most {MOST_FEATURES} "
            f"features, since a study's storage keeps them, but got {shape}."
        )


def to_attribute(result: ProbeResult) -> dict[str, Any]:
    """What is kept of a result with reconstructions."""
    found = result.reconstructions
    assert found is not None
    layers = result.spread(MOST_LAYERS)
    pictures = torch.cat([found.inputs[None], found.by_layer[layers]]).float().cpu()
    low, high = float(found.inputs.min()), float(found.inputs.max())
    levels = ((pictures.nan_to_num(low, low, low) - low) / max(high - low, 1e-12)).clamp(0, 1)
    pixels = (255 * levels).round().to(torch.uint8).numpy()
    return {
        "shape": list(pixels.shape),
        "low": low,
        "high": high,
        "layers": [result.layers[i] for i in layers],
        "retained": [float(f"{result.retained[i]:.4g}") for i in layers],
        "pixels": base64.b64encode(pixels.tobytes()).decode(),
    }


def from_attribute(known: Mapping[str, Any]) -> StoredImages:
    """The reverse of :func:`to_attribute`."""
    pixels = np.frombuffer(base64.b64decode(known["pixels"]), np.uint8).reshape(known["shape"])
    low, high = known["low"], known["high"]
    pictures = low + (high - low) * torch.from_numpy(pixels.copy()).float() / 255
    return StoredImages(pictures[0], pictures[1:], tuple(known["layers"]), tuple(known["retained"]))
