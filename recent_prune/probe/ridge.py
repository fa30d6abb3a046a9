"""The closed-form estimator: a ridge regression from each layer's activations to the input.

A linear reconstruction needs no training. With H the activations of a layer and X the inputs, both
centred on the n samples of the fit, d the number of activation features and K = H Hᵀ / d, new
samples are reconstructed as

    x̂ = mean + S X,   S = K_new (K + n s I)⁻¹,

one Cholesky factor of n × n, whatever the architecture and whatever d is (or of d × d where d is
smaller: S = H_new (Hᵀ H + d n s I)⁻¹ Hᵀ is the same).

The **noise floor** s decides everything. It is absolute, on raw activations: variance below it
counts as lost, since a network that is trained by gradients cannot use it, although exact
arithmetic could. (Relative to each layer's own variance, a layer that has collapsed to one point
would still look fine.) How much a network can do without depends on its optimizer and its time:
Adam trains networks whose signal is far below any one floor. So the retained share is the mean
over noise floors from 1e-1 to 1e-10: it falls by one step for every three decades that the
signal loses, and in the chaotic phase, where no floor helps, it falls to zero at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recent_prune.probe.activations import run_observed
from recent_prune.probe.measures import LayerMeasures, Split, measure, not_finite

RELATIVE_FLOOR = 1e-5
"""Least noise floor relative to a layer's own variance: below it are the rounding errors of
float32 products, which would make K indefinite where activations are large. They are about
eps √d, or 2e-6 for d = 1000."""


LEAST_REDUNDANCY = 0.75
"""Share of the inputs' variance that must be reconstructible from the inputs themselves. Digits,
MNIST and CIFAR-10 have 0.93 to 1; of white noise with 400 features, where critical networks of
ten layers would be condemned, 0.72 can be reconstructed from 288 samples."""


@dataclass(frozen=True)
class Ridge:
    """Closed-form estimator for any module, with defaults chosen by measurement.

    All defaults come from ``benchmarks/prediction``, whose README has the alternatives.

    Attributes:
        noise_floors: Variances per activation feature below which a signal counts as lost, ≥ 0,
            in squared units of the activations. The retained share is the mean over them; the
            reconstruction is the one at the floor that recovers most. Default 1e-1, 1e-4, 1e-7
            and 1e-10. A single floor of 1e-2 ranks networks as well, but leaves next to
            nothing to a third of those that Adam trains to the best accuracy.
        samples: How many samples are probed, at most. Default 384.
        held_out: Share of them that is held out from the fit and judged, in (0, 1). Default 1/4.
            Judged on the fit's own samples, every chaotic network would look perfect.

    Raises:
        ValueError: If an attribute is out of its range.
    """

    noise_floors: tuple[float, ...] = (1e-1, 1e-4, 1e-7, 1e-10)
    samples: int = 384
    held_out: float = 0.25

    name = "ridge"

    def __post_init__(self) -> None:
        if not self.noise_floors or not all(floor >= 0 for floor in self.noise_floors):
            raise ValueError(
                f"`noise_floors` must hold numbers ≥ 0, at least one, but got {self.noise_floors}."
            )
        if self.samples < 16:
            raise ValueError(f"`samples` must be at least 16, but got {self.samples}.")
        if not 0 < self.held_out < 1:
            raise ValueError(f"`held_out` must lie in (0, 1), but got {self.held_out}.")

    def measure(
        self, model: nn.Module, batch: Tensor, shown: int, layers: Sequence[str] | None
    ) -> list[LayerMeasures]:
        """Measure every layer in one forward pass; nothing is kept but the numbers.

        Args:
            model: In probing mode.
            batch: Samples to probe, then ``shown`` samples to reconstruct, [n + shown, …].
            shown: How many samples at the end are only reconstructed.
            layers: Names of modules, or None for the hidden activations.
        """
        held_out = held_out_mask(len(batch) - shown, self.held_out, batch.device)
        observer = _RidgeObserver(self.noise_floors, held_out, shown)
        if batch.is_floating_point():
            observer.on_input(batch)
        run_observed(model, batch, observer, layers)
        observer.check_inputs()
        return observer.measures


class _RidgeObserver:
    """Reconstructs the input from each activation as it passes and keeps the numbers."""

    def __init__(self, noise_floors: Sequence[float], held_out: Tensor, shown: int) -> None:
        self._noise_floors = noise_floors
        self._held_out = held_out
        self._shown = shown
        self._inputs: Split | None = None
        self.measures: list[LayerMeasures] = []

    def on_input(self, activation: Tensor) -> None:
        self._inputs = Split.by(_rows(activation), self._held_out, self._shown)

    def check_inputs(self) -> None:
        """Refuse inputs that cannot be reconstructed even from themselves.

        Raises:
            ValueError: If they are nearly white: then a verdict would speak of them, and not of
                the model.
        """
        inputs = self._inputs
        assert inputs is not None
        if not bool(torch.isfinite(inputs.mean).all()) or inputs.grams[0] == 0:
            return  # a dead or infinite embedding: the model is at fault, and its measures say so
        smoothers = ridge_smoothers(inputs.fit, inputs.held_out, [0.0])
        share = float(retained_shares(smoothers, inputs))
        if share < LEAST_REDUNDANCY:
            n, features = inputs.fit.shape
            raise ValueError(
                f"`inputs` must be alike enough to be reconstructed: from {n} samples of "
                f"{features} features only {share:.0%} of the others' variance can be, even from "
                f"the inputs themselves (at least {LEAST_REDUNDANCY:.0%} needed). Give more "
                "samples, a few hundred for images (Ridge(samples=…) takes 384 by default); noise "
                "cannot be probed."
            )

    def on_layer(self, name: str, activation: Tensor) -> None:
        rows, inputs = _rows(activation), self._inputs
        assert inputs is not None  # the observed run shows the input first
        if not bool(torch.isfinite(rows).all() and torch.isfinite(inputs.mean).all()):
            self.measures.append(not_finite(name))
            return
        hidden = Split.by(rows, self._held_out, self._shown)
        new = torch.cat([hidden.held_out, hidden.shown])
        smoothers = ridge_smoothers(hidden.fit, new, self._noise_floors)
        retained = retained_shares(smoothers[:, : len(inputs.held_out)], inputs)
        smoother = smoothers[int(retained.argmax())].to(inputs.fit.dtype)
        reconstructions = inputs.mean + smoother @ (inputs.fit - inputs.mean)
        judged = rows[: len(self._held_out)]
        self.measures.append(measure(name, judged, inputs, reconstructions, float(retained.mean())))


def held_out_mask(n: int, share: float, device: torch.device) -> Tensor:
    """Which of n samples are held out: a boolean mask [n], at least two on either side.

    Evenly spread, so that data sorted by class has all its classes on both sides.
    """
    m = min(max(round(n * share), 2), n - 2)
    mask = torch.zeros(n, dtype=torch.bool, device=device)
    mask[((torch.arange(m) * n + n // 2) // m).to(device)] = True
    return mask


def ridge_smoothers(fit: Tensor, new: Tensor, noise_floors: Sequence[float]) -> Tensor:
    """S above for each noise floor: reconstructions are ``mean + S (X − mean)``.

    Args:
        fit: Raw activations of the samples of the fit, [n, d].
        new: Raw activations of the samples to reconstruct, [m, d].
        noise_floors: f numbers, in squared units of the activations.

    Returns:
        Shape [f, m, n], float64.
    """
    n, d = fit.shape
    # Scaled by the largest activation, so that neither sums nor squares overflow or vanish.
    scale = torch.maximum(fit.abs().amax(), new.abs().amax()).clamp_min(torch.finfo(fit.dtype).tiny)
    fit, new = fit / scale, new / scale
    mean = fit.mean(dim=0)
    fit, new = fit - mean, new - mean
    gram = (fit.T @ fit if d < n else fit @ fit.T).double() / d
    floors = [min(s / float(scale) ** 2, 1e300 / n) for s in noise_floors]
    factors = _cholesky(gram, n, torch.tensor(floors, dtype=gram.dtype, device=gram.device))
    right = new.double() / d if d < n else (new @ fit.T).double() / d
    solved = torch.cholesky_solve(right.T.expand(len(floors), -1, -1), factors).mT
    return solved @ fit.double().T if d < n else solved


def _cholesky(gram: Tensor, n: int, floors: Tensor) -> Tensor:
    """Cholesky factors [f, k, k] of gram [k, k] + n s I for each floor s."""
    identity = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    # Down to 1e-300: a layer of equal activations has no variance and still needs a factor.
    least = max(RELATIVE_FLOOR * float(gram.trace()) / n, 1e-300)
    while True:
        regular = gram + n * floors.clamp_min(least)[:, None, None] * identity
        factors: Tensor
        factors, failed = torch.linalg.cholesky_ex(regular)
        if not bool(failed.any()):
            return factors
        least *= 10  # products of lower precision, such as TF32, have larger rounding errors


def retained_shares(smoothers: Tensor, inputs: Split) -> Tensor:
    """Share of the held-out inputs' variance that each smoother recovers, [f], in [0, 1].

    The same as :func:`retained_share` of each reconstruction, but in the space of the samples:
    with G = X Xᵀ the lost part is ``tr G_hh − 2 tr(S G_fh) + tr(S G_ff Sᵀ)``, which costs the
    same however many features an input has.

    Args:
        smoothers: [f, m, n].
        inputs: m held-out samples, n samples of the fit.
    """
    total, cross, own = inputs.grams
    lost = total - 2 * (smoothers * cross).sum((1, 2)) + ((smoothers @ own) * smoothers).sum((1, 2))
    # Inputs without variance (a dead embedding) hold nothing that could be retained.
    return (1 - lost / total).clamp(0, 1) if total > 0 else torch.zeros_like(lost)


def _rows(tensor: Tensor) -> Tensor:
    """[n, …] → [n, d], at least in float32."""
    return tensor.flatten(1).to(torch.promote_types(tensor.dtype, torch.float32))
