"""Mean-field theory of signal propagation in wide random networks: what to compare a probe with.

In a wide network with W ~ N(0, σ_w²/fan_in) and b ~ N(0, σ_b²) the pre-activations of a layer are
Gaussian. Their variance q and the correlation c of two inputs go from layer to layer as

    q ← σ_w² E[φ(√q z)²] + σ_b²,    c ← (σ_w² E[φ(√q z₁) φ(√q z₂)] + σ_b²) / q,

and c approaches its fixed point c* as e^(−l/ξ) with ξ = −1 / ln χ(c*), χ(c) = σ_w² E[φ′ φ′]. At
the critical σ_w², χ(1) = 1 and ξ diverges; below lies the ordered phase (c* = 1), above the
chaotic one.

Sources: Poole et al. 2016 (arXiv 1606.05340); Schoenholz et al. 2017 (arXiv 1611.01232). The same
holds for convolutions with circular padding (Xiao et al. 2018, arXiv 1806.05393).
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from recent_prune.networks import ACTIVATIONS

POINTS = 64
"""Of the Gauss–Hermite quadrature in each dimension."""

STEPS = 200
"""Of each iteration to a fixed point, at most."""

SETTLED = 1e-12
"""Change of a correlation at which the iteration ends."""

LONGEST = 1e6
"""Correlation length that stands for a diverging one, layers."""


@functools.cache
def correlation_length(
    weight_variance: float,
    bias_variance: float,
    activation: str = "tanh",
    *,
    second_moment: float = 1.0,
) -> float:
    """ξ, over which two inputs approach their final correlation, in layers, at most 10⁶.

    Args:
        weight_variance: σ_w².
        bias_variance: σ_b².
        activation: A key of :data:`recent_prune.networks.ACTIVATIONS`. For those whose variance
            has no bounded fixed point (ReLU, σ_w² > 2) the rate of divergence takes its place.
        second_moment: Of the inputs, where the iteration starts.

    Raises:
        ValueError: If a variance is negative, or ``activation`` is unknown.
    """
    chi = _chi(weight_variance, bias_variance, activation, second_moment)
    return min(1 / max(abs(math.log(max(chi, 1e-30))), 1e-30), LONGEST)


def critical_weight_variance(bias_variance: float, activation: str = "tanh") -> float:
    """The σ_w² between order and chaos: 1.761 for tanh at σ_b² = 0.05.

    Args:
        bias_variance: σ_b².
        activation: As in :func:`correlation_length`.

    Raises:
        ValueError: If there is none between 0.05 and 20, a variance is negative, or ``activation``
            is unknown.
    """

    def excess(weight_variance: float) -> float:
        q = _variance(weight_variance, bias_variance, activation, 1.0)
        z, mass = _quadrature()
        _, slope = _activated(activation, math.sqrt(q) * z)
        return weight_variance * float((mass * slope.square()).sum()) - 1

    if excess(0.05) * excess(20.0) > 0:
        raise ValueError(
            f"{activation!r} has no critical `weight_variance` between 0.05 and 20 at "
            f"bias_variance={bias_variance}."
        )
    return float(brentq(excess, 0.05, 20.0, xtol=1e-6))


def _chi(w: float, b: float, activation: str, start: float) -> float:
    """χ(c*)."""
    q = _variance(w, b, activation, start)
    z, mass = _quadrature()
    z1, z2 = torch.meshgrid(z, z, indexing="ij")
    joint = mass[:, None] * mass
    c, chi = 0.9, 1.0
    for _ in range(STEPS):
        first, slope = _activated(activation, math.sqrt(q) * z1)
        mixed = c * z1 + math.sqrt(max(1 - c * c, 0)) * z2
        second, other = _activated(activation, math.sqrt(q) * mixed)
        chi = w * float((joint * slope * other).sum())
        before, c = c, min(max((w * float((joint * first * second).sum()) + b) / q, -1.0), 1.0)
        if abs(c - before) < SETTLED:
            break
    return chi


def _variance(w: float, b: float, activation: str, start: float) -> float:
    """q*, within 10^±30."""
    for name, variance in (("weight_variance", w), ("bias_variance", b)):
        if not variance >= 0:
            raise ValueError(f"`{name}` must be ≥ 0, but got {variance}.")
    z, mass = _quadrature()
    q = w * start + b
    for _ in range(STEPS):
        value, _ = _activated(activation, math.sqrt(q) * z)
        q = min(max(w * float((mass * value.square()).sum()) + b, 1e-30), 1e30)
    return q


def _quadrature() -> tuple[Tensor, Tensor]:
    """Nodes and weights for expectations over N(0, 1), [POINTS] each."""
    points, weights = np.polynomial.hermite_e.hermegauss(POINTS)
    return torch.from_numpy(points), torch.from_numpy(weights / weights.sum())


def _activated(activation: str, values: Tensor) -> tuple[Tensor, Tensor]:
    """φ and φ′."""
    if activation not in ACTIVATIONS:
        raise ValueError(
            f"`activation` must be one of {list(ACTIVATIONS)}, but got {activation!r}."
        )
    values = values.detach().requires_grad_()
    result: Tensor = ACTIVATIONS[activation]()(values)
    (slope,) = torch.autograd.grad(result.sum(), values)
    return result.detach(), slope
