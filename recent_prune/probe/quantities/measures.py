"""What is measured at each layer: how good its reconstruction is, and how its activations lie."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from recent_prune.probe.quantities.entropies import (
    differential_entropy,
    relative_entropies,
    von_neumann_entropy,
)
from recent_prune.probe.quantities.gram import LayerGram

LEAST_NORM = 1e-18
"""Of a sample's activations, in units of the layer's largest: weaker ones count as zeros, since
their squares leave float32."""


@dataclass(frozen=True)
class LayerMeasures:
    """The numbers of one layer; NaN where activations are not finite, see `not_finite`."""

    name: str
    relative_entropy: float
    median_relative_entropy: float
    retained: float
    differential_entropy: float
    gram_entropy: float
    activation_rms: float
    relative_variance: float
    jacobian_norm: float
    reconstructions: Tensor | None = None
    retained_by_floor: tuple[float, ...] = ()

    @property
    def finite(self) -> bool:
        """Whether all activations of the layer were finite."""
        return self.activation_rms < math.inf


@dataclass(frozen=True)
class Measured:
    """What an estimator says of a model.

    Attributes:
        layers: Shallow to deep, at least one.
        redundancy: Share of the inputs that can be recovered from themselves.
        stochastic: Whether the model drew random numbers.
        constant_output: Whether the output is the same for all samples.
        nonfinite_outputs: Share of the samples whose output is not finite.
        normalizes: Whether the model was seen to normalise by hand.
        merged: Whether an activation was passed over, as another axis is merged with its samples'.
        unseen: Weighted modules whose activations could not be told by sample.
        inputs: Names of what is reconstructed, where the model is called with whole batches.
        retained_by_input: Of each of them, the share that each layer retains, [inputs][layers].
        notes: What a reader of the result should know.
    """

    layers: list[LayerMeasures]
    redundancy: float = 1.0
    stochastic: bool = False
    constant_output: bool = False
    nonfinite_outputs: float = 0.0
    normalizes: bool = False
    merged: bool = False
    unseen: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    retained_by_input: tuple[tuple[float, ...], ...] = ()
    notes: tuple[str, ...] = ()


def not_finite(name: str) -> LayerMeasures:
    """The measures of a layer with NaN or infinite activations: nothing is retained."""
    return LayerMeasures(
        name, math.nan, math.nan, 0.0, math.nan, math.nan, math.inf, math.nan, math.nan
    )


def measure(
    names: Sequence[str],
    grams: Sequence[LayerGram],
    inputs: Tensor,
    reconstructions: Tensor,
    retained: Tensor,
    shown: Sequence[Tensor | None],
    perturbation: float = math.nan,
    by_floor: Tensor | None = None,
) -> list[LayerMeasures]:
    """Measure layers, all at once.

    Args:
        names: Of b layers with finite activations.
        grams: Of their activations.
        inputs: The samples that are judged, [m, D].
        reconstructions: Of these samples from every layer, [b, m, D].
        retained: Share of the inputs' variance that each layer recovers, [b].
        shown: Reconstructions of the samples asked for, [k, D] each, or None.
        perturbation: Mean square of what the perturbed inputs were moved by.
        by_floor: The retained share at each of f noise floors, [b, f].
    """
    entropies = relative_entropies(inputs, reconstructions).double()
    # Rows of signed data can sum to zero; only images in [0, ∞) are normalised.
    nonnegative = bool((inputs >= 0).all())
    differential = torch.vmap(lambda r: differential_entropy(r, normalize=nonnegative))
    rms, relative_variance = activation_sizes(grams)
    columns = [
        entropies.mean(dim=1),
        entropies.median(dim=1).values,
        retained,
        differential(reconstructions),
        gram_entropies(grams),
        rms,
        relative_variance,
        jacobian_norms(grams, perturbation),
    ]
    # All at once: on a GPU every transfer waits.
    floors = [] if by_floor is None else list(by_floor.unbind(1))
    numbers = torch.stack([column.double() for column in [*columns, *floors]]).tolist()
    plain, shares = numbers[: len(columns)], numbers[len(columns) :]
    of_floors = list(zip(*shares, strict=True)) if shares else [()] * len(names)
    return [LayerMeasures(*layer) for layer in zip(names, *plain, shown, of_floors, strict=True)]


def activation_sizes(grams: Sequence[LayerGram]) -> tuple[Tensor, Tensor]:
    """Root mean square of each layer's activations, and the share of it that varies over samples.

    The second number is ``Σ(h − mean)² / Σh²`` in [0, 1]: about 1e-7 where a layer maps all
    samples to one point (collapse), 0 where activations are all zero.

    Returns:
        Two tensors [b], float64.
    """
    scale = torch.stack([g.scale for g in grams]).double()
    second_moment = torch.stack([g.second_moment for g in grams]).double()
    variance = torch.stack([g.variance for g in grams]).double()
    share = variance / torch.where(second_moment > 0, second_moment, 1)
    return scale * second_moment.sqrt(), share.clamp(0, 1)


def jacobian_norms(grams: Sequence[LayerGram], perturbation: float) -> Tensor:
    """Mean square response of each layer's activations to a perturbation of the inputs, [b].

    ``E ‖∂h / ∂x‖² / d``, by finite differences in random directions; float64, NaN where nothing
    was perturbed.
    """
    scale = torch.stack([g.scale for g in grams]).double()
    response = torch.stack([g.response for g in grams]).double()
    return scale.square() * response / perturbation


def gram_entropies(grams: Sequence[LayerGram]) -> Tensor:
    """The Gram entropy of each layer's activations, [b], see :func:`gram_entropy`."""
    products = torch.stack([g.directions for g in grams]).double()
    norms = products.diagonal(dim1=1, dim2=2).sqrt()
    norms = torch.where(norms < LEAST_NORM, 1, norms)
    n = products.shape[-1]
    density = products / (n * norms[:, :, None] * norms[:, None, :])
    return von_neumann_entropy(density) / math.log(n)


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
