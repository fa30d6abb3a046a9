"""What is measured at each layer: how good its reconstruction is, and how its activations lie."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from recent_prune.probe.entropies import differential_entropy, gram_entropy, relative_entropy

GRAM_SAMPLES = 128
"""The Gram entropy takes this many samples at most: its eigenvalues cost n³ a layer."""


@dataclass(frozen=True)
class LayerMeasures:
    """The numbers of one layer; NaN where activations are not finite, see `measure`."""

    name: str
    relative_entropy: float
    median_relative_entropy: float
    retained: float
    differential_entropy: float
    gram_entropy: float
    activation_rms: float
    relative_variance: float
    reconstructions: Tensor | None = None

    @property
    def finite(self) -> bool:
        """Whether all activations of the layer were finite."""
        return self.activation_rms < math.inf


@dataclass(frozen=True)
class Split:
    """The samples of one tensor (the inputs, or a layer's activations), as rows of features.

    Attributes:
        fit: Samples that reconstructions are fitted on, [n, D].
        held_out: Samples on which they are judged, [m, D].
        shown: Samples whose reconstructions are asked for, [k, D]; k may be 0.
    """

    fit: Tensor
    held_out: Tensor
    shown: Tensor

    @cached_property
    def mean(self) -> Tensor:
        """Mean of the samples that are fitted on, [D]: the reconstruction that knows nothing."""
        return self.fit.mean(dim=0)

    @cached_property
    def nonnegative(self) -> bool:
        """Whether all features are ≥ 0, as in images."""
        return bool((self.fit >= 0).all())

    @cached_property
    def grams(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of the centred samples, float64: tr(X_h X_hᵀ), X_h X_fᵀ [m, n], X_f X_fᵀ [n, n]."""
        fit, held_out = self.fit - self.mean, self.held_out - self.mean
        total = held_out.double().square().sum()
        return total, (held_out @ fit.T).double(), (fit @ fit.T).double()

    @staticmethod
    def by(rows: Tensor, held_out: Tensor, shown: int) -> Split:
        """Split rows [n + m + k, D] by a mask of held-out samples [n + m]; the last k are shown."""
        judged = rows[: len(rows) - shown]
        return Split(judged[~held_out], judged[held_out], rows[len(rows) - shown :])


def retained_share(inputs: Tensor, reconstructions: Tensor, mean: Tensor) -> float:
    """Share of the inputs' variance that their reconstructions recover, in [0, 1].

    ``1 − Σ(x − x̂)² / Σ(x − mean)²`` over all samples and features, clipped: a reconstruction
    that is worse than the mean retains nothing. It is the variance-weighted mean of R² over the
    principal components of the inputs.

    Args:
        inputs: Held-out samples, [m, D].
        reconstructions: [m, D].
        mean: Mean of the samples that were fitted on, [D].
    """
    lost = (inputs - reconstructions).double().square().sum()
    total = (inputs - mean).double().square().sum()
    return float((1 - lost / total).clamp(0, 1)) if total > 0 else 0.0


def measure(
    name: str, activation: Tensor, targets: Split, reconstructions: Tensor, retained: float
) -> LayerMeasures:
    """Measure one layer.

    Args:
        name: The layer's name.
        activation: Its raw activations, [n, d], finite.
        targets: The inputs.
        reconstructions: Of the held-out samples, then of the shown ones, [m + k, D].
        retained: Share of the inputs' variance that they recover.
    """
    m = len(targets.held_out)
    held_out = reconstructions[:m]
    entropies = relative_entropy(targets.held_out, held_out).double()
    rms, relative_variance = activation_size(activation)
    return LayerMeasures(
        name=name,
        relative_entropy=float(entropies.mean()),
        median_relative_entropy=float(entropies.median()),
        retained=retained,
        differential_entropy=float(
            # Rows of signed data can sum to zero; only images in [0, ∞) are normalised.
            differential_entropy(held_out, normalize=targets.nonnegative)
        ),
        gram_entropy=float(gram_entropy(activation[:GRAM_SAMPLES])),
        activation_rms=rms,
        relative_variance=relative_variance,
        reconstructions=reconstructions[m:] if len(targets.shown) else None,
    )


def not_finite(name: str) -> LayerMeasures:
    """The measures of a layer with NaN or infinite activations: nothing is retained."""
    return LayerMeasures(name, math.nan, math.nan, 0.0, math.nan, math.nan, math.inf, math.nan)


def activation_size(activation: Tensor) -> tuple[float, float]:
    """Root mean square of activations [n, d], and the share of it that varies over samples.

    The second number is ``Σ(h − mean)² / Σh²`` in [0, 1]: about 1e-7 where a layer maps all
    samples to one point (collapse), 0 where activations are all zero.
    """
    largest = activation.abs().amax()
    if largest == 0:
        return 0.0, 0.0
    # Scaled first: squares of float32 activations above 1e19 overflow.
    scaled = activation / largest
    second_moment = scaled.square().mean(dtype=torch.float64)
    variance = (scaled - scaled.mean(dim=0)).square().mean(dtype=torch.float64)
    rms = float(largest.double() * second_moment.sqrt())
    return rms, float((variance / second_moment).clamp(0, 1))
