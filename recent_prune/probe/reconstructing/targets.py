"""The inputs, as what is to be reconstructed."""

from __future__ import annotations

import math
from functools import cached_property

import torch
from torch import Tensor

from recent_prune.probe.quantities.gram import MAX_FEATURES, feature_rows
from recent_prune.probe.quantities.moves import as_real
from recent_prune.probe.restoring.devices import solvable

COMPONENTS = 16
"""Principal components of the inputs on which the retained share is judged. They hold most of the
variance of images; with all components networks are ranked as well, but those that train are
less far from the threshold (``benchmarks/prediction``)."""

JUDGED = 64
"""The entropies are those of the reconstructions of this many samples at most."""


class Targets:
    """Inputs to be reconstructed from the activations that they caused.

    Args:
        inputs: [n + shown, …].
        shown: How many samples at the end are only reconstructed.
        perturbation: Mean square of what the perturbed inputs were moved by, NaN if there are
            none.

    Attributes:
        scale: Largest absolute input, [].
        rows: Inputs that are fitted and judged, divided by ``scale`` and centred, [n, D] with D at
            most ``MAX_FEATURES``.
        mean: Their mean, [D].
        judged: Index [m] of the samples whose reconstructions the entropies are taken of.
        shown: As given.
        perturbation: As given.
    """

    def __init__(self, inputs: Tensor, shown: int, perturbation: float = math.nan) -> None:
        n, inputs = len(inputs) - shown, solvable(as_real(inputs))
        self._inputs = inputs.flatten(1)
        self._n = n
        self.shown = shown
        self.perturbation = perturbation
        rows = feature_rows(inputs[:n], MAX_FEATURES)
        # Shares do not depend on the scale, but squares overflow.
        self.scale = rows.abs().amax().clamp_min(torch.finfo(rows.dtype).tiny)
        rows = rows / self.scale
        self.mean = rows.mean(dim=0)
        self.rows = rows - self.mean
        self.judged = torch.arange(0, n, -(-n // JUDGED), device=rows.device)

    @property
    def judged_rows(self) -> Tensor:
        """The judged samples as they are, [m, D]."""
        return self.scale * (self.rows[self.judged] + self.mean)

    @cached_property
    def finite(self) -> bool:
        """Whether all are: an embedding of tokens may not be."""
        return bool(torch.isfinite(self._inputs).all())

    @cached_property
    def components(self) -> Tensor:
        """Scores [n, r] of the leading principal components, float64, decreasing variance."""
        values, vectors = self._spectrum
        r = min(COMPONENTS, self._n - 1, self.rows.shape[1])
        leading: Tensor = vectors[:, -r:] * values[-r:].sqrt()
        return leading.flip(1)

    def redundancy(self, relative_floor: float) -> float:
        """Share of the components' variance that can be recovered from the inputs themselves.

        By leave-one-out ridge regression, as from a layer (see
        `recent_prune.probe.reconstructing.leave_one_out`), but at the relative floor
        alone; in the basis of the principal components M is diagonal.
        1 for a dead or infinite embedding of tokens: the model is at fault, not the inputs.
        """
        if not self.finite or not bool(self.rows.any()):
            return 1.0
        values, vectors = self._spectrum
        shrinkage = 1 / (values / (relative_floor * values.sum()) + 1)
        scores = self.components
        kept = shrinkage[-scores.shape[1] :].flip(0)
        leverage = vectors.square() @ shrinkage - 1 / self._n
        lost = (scores * kept / leverage[:, None]).square().sum()
        total = (scores * self._n / (self._n - 1)).square().sum()
        return float((1 - lost / total).clamp(0, 1))

    @cached_property
    def _spectrum(self) -> tuple[Tensor, Tensor]:
        """Eigenvalues [n], rising, ≥ 0, and eigenvectors [n, n] of the inputs' Gram matrix."""
        values, vectors = torch.linalg.eigh((self.rows @ self.rows.T).double())
        return values.clamp_min(0), vectors

    def combined(self, weights: Tensor) -> Tensor:
        """Combinations [k, F] of the inputs, all features of them, by weights [k, n]."""
        fit = self._inputs[: self._n].to(self.rows.dtype)
        mean = fit.mean(dim=0)
        return mean + weights.to(fit.dtype) @ (fit - mean)
