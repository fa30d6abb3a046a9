"""Leave-one-out ridge regression in closed form, for many layers at once.

With H the activations of a layer for n samples, centred, d the number of activation features, K = H
Hᵀ / d, X the centred inputs, s the noise floor and

    M = (K / n s + I)⁻¹,

the reconstruction of sample i by a ridge regression that has seen all samples but i misses by

    x_i − x̂_i = (M X)_i / (M_ii − 1/n)        (exact; −1/n for the mean, which is fitted as well)

so one Cholesky factor of n × n gives n held-out reconstructions, whatever d is. Where d < n, one of
d × d does: M = I − H (Hᵀ H + d n s I)⁻¹ Hᵀ.

Source: Allen 1974 (PRESS); Hastie, Tibshirani and Friedman, *The Elements of Statistical Learning*,
section 7.10.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recent_prune.probe.quantities.gram import LayerGram
from recent_prune.probe.reconstructing.targets import Targets

LEAST_SHARE = 0.01
"""Floors at which less is retained say nothing but the noise of rounding errors: there, the
reconstruction is the one at the largest floor, which is next to the mean of all samples."""

BLOCK = 48
"""Matrices up to this size are factorized as a whole."""


class LeaveOneOut:
    """Leave-one-out reconstructions from b layers, all factorized together.

    Args:
        grams: Of b layers with finite activations and kernels of one shape, n samples each.
        targets: The inputs.
        floors: Noise floors of each layer in units of its scale, [b, f], float64, positive.

    Attributes:
        retained: Share of the components' variance that is recovered at each noise floor, [b, f],
            in [0, 1].
    """

    def __init__(self, grams: Sequence[LayerGram], targets: Targets, floors: Tensor) -> None:
        self._grams = grams
        self._targets = targets
        self._floors = floors
        # Each pair of a layer and a floor is solved once.
        (layer, floor), self._pair = _distinct(floors)
        kernel = torch.stack([g.kernel for g in grams])
        n = kernel.shape[1]
        system = _Wide if kernel.shape[2] == n else _Narrow
        self._system = system(kernel, layer, (n * floors[layer, floor]).to(kernel))
        self._leverage = self._system.diagonal() - 1 / n  # [p, n]
        scores = targets.components.to(kernel)
        missed = self._system.times(scores) / self._leverage[..., None]
        # Left out itself, a sample is missed by n / (n − 1) times its distance to the mean.
        total = (scores * n / (n - 1)).square().sum()
        lost = missed.square().sum(dim=(1, 2))
        # Inputs without variance (a dead embedding) hold nothing that could be retained.
        share = (1 - lost / total).clamp(0, 1) if total > 0 else torch.zeros_like(lost)
        self.retained = share[self._pair]

    def reconstructions(self) -> Tensor:
        """Of the judged samples at the floor that retains most (if it does), [b, m, D]."""
        targets = self._targets
        best, judged = self._best(), targets.judged
        weights = self._system.rows(best, judged) / self._leverage[best][:, judged, None]
        missed = weights.to(targets.rows.dtype) @ targets.rows
        # In place: fresh memory costs more than the arithmetic.
        return missed.mul_(-targets.scale).add_(targets.judged_rows)

    def shown(self) -> list[Tensor | None]:
        """Reconstructions of the shown samples at that floor, [k, F] a layer, or None."""
        if not self._targets.shown:
            return [None] * len(self._grams)
        best = self._best()
        everything = torch.arange(len(self._targets.rows), device=best.device)
        cross = torch.stack([g.cross for g in self._grams])
        weights = cross @ self._system.rows(best, everything)
        weights = weights / self._system.floor[best][:, None, None]
        return [self._targets.combined(w) for w in weights]

    def _best(self) -> Tensor:
        """The pair of each layer whose reconstructions are shown."""
        useful = self.retained >= LEAST_SHARE
        largest = self._floors / self._floors.amax(dim=1, keepdim=True)
        key = torch.where(useful, 1 + self.retained.double(), largest)
        return self._pair.gather(1, key.argmax(dim=1, keepdim=True))[:, 0]


class _Wide:
    """M = (K / s + I)⁻¹ for p pairs of a Gram matrix K [n, n] and a floor s (times n)."""

    def __init__(self, kernels: Tensor, layer: Tensor, floor: Tensor) -> None:
        # Exactly centred, so that the vector of ones is left alone by M.
        kernels = kernels - kernels.mean(dim=1, keepdim=True)
        kernels -= kernels.mean(dim=2, keepdim=True)
        self._roots, self.floor = _inverse_roots(kernels, layer, floor)

    def diagonal(self) -> Tensor:
        """Of M, [p, n]."""
        return self._roots.square().sum(dim=1)

    def times(self, right: Tensor) -> Tensor:
        """M times [n, r], [p, n, r]."""
        return self._roots.mT @ (self._roots @ right)

    def rows(self, pairs: Tensor, index: Tensor) -> Tensor:
        """Rows of M for some pairs, [b, m, n]."""
        roots = self._roots[pairs]
        return roots[:, :, index].mT @ roots


class _Narrow:
    """The same from features H [n, d] with K = H Hᵀ and d < n: M = I − H (Hᵀ H + s I)⁻¹ Hᵀ."""

    def __init__(self, kernels: Tensor, layer: Tensor, floor: Tensor) -> None:
        roots, self.floor = _inverse_roots(kernels.mT @ kernels, layer, floor)
        # Q = H Rᵀ / √s, with Rᵀ R = (Hᵀ H / s + I)⁻¹: M = I − Q Qᵀ.
        self._q = kernels[layer] @ roots.mT / self.floor.sqrt()[:, None, None]

    def diagonal(self) -> Tensor:
        """Of M, [p, n]."""
        return 1 - self._q.square().sum(dim=2)

    def times(self, right: Tensor) -> Tensor:
        """M times [n, r], [p, n, r]."""
        return right - self._q @ (self._q.mT @ right)

    def rows(self, pairs: Tensor, index: Tensor) -> Tensor:
        """Rows of M for some pairs, [b, m, n]."""
        q = self._q[pairs]
        result = -(q[:, index] @ q.mT)
        result[:, torch.arange(len(index), device=index.device), index] += 1
        return result


def _distinct(floors: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Which pairs of layer and floor differ, ([p], [p]), and which of them stands for each, [b, f].

    Of equal floors of a layer the first stands for all.
    """
    first = (floors[:, :, None] == floors[:, None, :]).to(torch.uint8).argmax(dim=2)
    is_first = first == torch.arange(floors.shape[1], device=floors.device)
    layer, floor = is_first.nonzero(as_tuple=True)
    position = is_first.flatten().cumsum(0).reshape(floors.shape) - 1
    return (layer, floor), position.gather(1, first)


def _inverse_roots(kernels: Tensor, layer: Tensor, floor: Tensor) -> tuple[Tensor, Tensor]:
    """R with Rᵀ R = (K / s + I)⁻¹, lower triangular, for p pairs of a kernel K and a floor s.

    Returns:
        R [p, q, q], and the s [p] that was needed for K / s + I to be positive definite in spite of
        rounding errors.
    """
    while True:
        system = kernels[layer].div_(floor[:, None, None])
        system.diagonal(dim1=1, dim2=2).add_(1)
        roots, failed = _inverse_root(system)
        if not bool(failed.any()):
            return roots, floor
        # Products of lower precision, such as TF32, have larger rounding errors.
        floor = torch.where(failed, floor * 10, floor)


def _inverse_root(system: Tensor) -> tuple[Tensor, Tensor]:
    """Inverses R of the Cholesky factors of matrices [p, q, q], and which have none, [p].

    By blocks, since products are what is fast: with R₁ of A₁₁ and B = A₂₁ R₁ᵀ, R₂ is that of
    A₂₂ − B Bᵀ, and R₂₁ = −R₂ B R₁.
    """
    q = system.shape[1]
    if q <= BLOCK:
        factors, failed = torch.linalg.cholesky_ex(system)
        ones = torch.eye(q, dtype=system.dtype, device=system.device)
        return torch.linalg.solve_triangular(factors, ones, upper=False), failed > 0
    h = q // 2
    first, failed = _inverse_root(system[:, :h, :h])
    below = system[:, h:, :h] @ first.mT
    last, also = _inverse_root(system[:, h:, h:] - below @ below.mT)
    roots = torch.zeros_like(system)
    roots[:, :h, :h], roots[:, h:, h:] = first, last
    roots[:, h:, :h] = -last @ (below @ first)
    return roots, failed | also
