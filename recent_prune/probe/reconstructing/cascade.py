"""The paper's estimator: reconstruction layers, each trained to undo one layer.

For every layer l a small reconstruction layer R_l learns, by its own mean squared error and its
own Adam, to turn the layer's activation a_l into a_{l−1}; all learn in the same pass over the
inputs. Chained, they form the cascade that turns a_l into an image:

    x̂_l = R_1(R_2(… R_l(a_l))).

One pass costs as much as one epoch of training the network itself, and how good a reconstruction
gets depends on the number of steps: use it to compare with the paper, and :class:`Ridge`, for which
the rules' thresholds were measured, to prune.

Source: arXiv 2406.12916, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recent_prune.probe.quantities.entropies import relative_entropy
from recent_prune.probe.quantities.gram import MAX_FEATURES, layer_gram
from recent_prune.probe.quantities.measures import (
    LayerMeasures,
    Measured,
    measure,
    not_finite,
    retained_share,
)
from recent_prune.probe.reconstructing.chain import Chain, ChainLayer
from recent_prune.probe.reconstructing.fitting import bound, fit
from recent_prune.probe.reconstructing.reconstruction_layer import ReconstructionLayer
from recent_prune.probe.restoring.devices import solvable

DEFAULT_UPDATES = 938
"""Least number of steps: one pass over the 60,000 images of MNIST in batches of 64."""

SEEN = 512
"""Samples that show whether activations lie within [−1, 1]."""

AT_ONCE = 2**26
"""Bytes of activations that set out for the input at a time, at most (or one depth's)."""


@dataclass(frozen=True)
class Cascade:
    """Trained estimator for stacks of linear and convolutional layers and of residual blocks.

    Defaults are the paper's. It names layers as the ridge estimator does, but a block is one. Do
    not prune with it: the thresholds of the rules are measured for :class:`Ridge`, and behind
    pooling, or with few updates, the cascade retains nothing of networks that train.

    Attributes:
        updates: Number of optimizer steps; default None: one pass over the inputs, repeated
            until there are 938 steps, the paper's one pass over MNIST: with fewer, networks that
            train look as if they had lost their input. (The authors' newer package stops after
            200 for MLPs.)
        batch_size: Samples a step. Default 64.
        learning_rate: Of each layer's Adam. Default 1e-3.
        held_out: How many samples are held out and judged, a quarter of the inputs at most.
            Default 100.
        samples: How many samples are used at most; default None: all.
        tolerance: Ends the fit early, once the relative entropy of no layer (mean over the
            held-out samples) has changed by more than this share in 100 steps. Default None: all
            updates, as in the paper, since a profile goes on changing slowly: on MNIST 0.05 ends
            after a third to a half of a pass, with entropies up to a quarter off.

    Raises:
        ValueError: If an attribute is out of its range.
    """

    updates: int | None = None
    batch_size: int = 64
    learning_rate: float = 1e-3
    held_out: int = 100
    samples: int | None = None
    tolerance: float | None = None

    name = "cascade"

    def __post_init__(self) -> None:
        for name, least in (("updates", 1), ("batch_size", 2), ("held_out", 1), ("samples", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"`{name}` must be at least {least}, but got {value}.")
        if self.tolerance is not None and not self.tolerance > 0:
            raise ValueError(f"`tolerance` must be positive, but got {self.tolerance}.")
        if not self.learning_rate > 0:
            raise ValueError(f"`learning_rate` must be positive, but got {self.learning_rate}.")

    def measure(
        self, model: nn.Module, batch: Tensor, shown: int, layers: Sequence[str] | None
    ) -> Measured:
        """Fit a reconstruction layer for each layer, then measure every cascade.

        Args:
            model: In probing mode.
            batch: Samples to probe, then ``shown`` samples to reconstruct, [n + shown, …].
            shown: How many samples at the end are only reconstructed.
            layers: Names of chain layers, or None for all but the head.
        """
        if not batch.is_floating_point():
            raise ValueError(
                f"estimator='cascade' needs floating `inputs`, but got {batch.dtype}; "
                "use estimator='ridge', which takes tokens."
            )
        n = len(batch) - shown
        held_out = held_out_mask(n, min(self.held_out / n, 0.25), batch.device)
        samples, judged = batch[:n][~held_out], torch.cat([batch[:n][held_out], batch[n:]])
        chain = Chain(model, judged)
        depth = _depth(chain.layers, layers)
        # Squared errors and Adam's steps are too small for half precision.
        precision = torch.promote_types(batch.dtype, torch.float32)
        reconstruction_layers = [
            ReconstructionLayer(layer).to(batch.device, precision) for layer in chain.layers[:depth]
        ]
        activations = _in(chain.activations(judged)[:depth], precision)
        inputs, known = _in([judged[: len(judged) - shown], samples], precision)
        some = samples[:: -(-len(samples) // SEEN)]
        # Not one sample alone: batch normalisation cannot use it.
        parts = some.tensor_split(max(len(some) // self.batch_size, 1))
        bound(reconstruction_layers, ([x, *chain.activations(x)] for x in parts))
        fit(
            reconstruction_layers,
            (_in([x, *chain.activations(x)], precision) for x in self._batches(samples)),
            learning_rate=self.learning_rate,
            settled=self._settled(reconstruction_layers, activations, inputs),
        )
        measures = _measure(
            [layer.name for layer in chain.layers[:depth]],
            activations,
            cascade(reconstruction_layers, activations),
            inputs.flatten(1),
            known.flatten(1).mean(dim=0),
        )
        return Measured([m for m in measures if layers is None or m.name in layers])

    def _settled(
        self,
        reconstruction_layers: Sequence[ReconstructionLayer],
        activations: Sequence[Tensor],
        inputs: Tensor,
    ) -> Callable[[], bool]:
        """Whether the profile has changed by less than the tolerance since it was last asked."""
        last: list[Tensor] = []

        def settled() -> bool:
            if self.tolerance is None:
                return False
            n = len(inputs)
            reconstructions = cascade(reconstruction_layers, [a[:n] for a in activations])
            entropies = [relative_entropy(inputs, r.reshape(inputs.shape)) for r in reconstructions]
            last.append(torch.stack(entropies).mean(dim=1))
            return len(last) > 1 and torch.allclose(last[-1], last[-2], rtol=self.tolerance, atol=0)

        return settled

    def _batches(self, samples: Tensor) -> Iterator[Tensor]:
        """Batches in a new random order in each pass.

        A single sample at the end is left out: batch normalisation cannot use it.
        """
        if len(samples) % self.batch_size == 1:
            samples = samples[:-1]
        per_pass = math.ceil(len(samples) / self.batch_size)
        order = torch.empty(0, dtype=torch.int64, device=samples.device)
        for step in range(self.updates or max(per_pass, DEFAULT_UPDATES)):
            start = (step % per_pass) * self.batch_size
            if start == 0:
                order = torch.randperm(len(samples), device="cpu").to(samples.device)
            yield samples[order[start : start + self.batch_size]]


def cascade(
    reconstruction_layers: Sequence[ReconstructionLayer], activations: Sequence[Tensor]
) -> list[Tensor]:
    """Reconstruct the input from every depth: x̂_1, …, x̂_L, each [n, …].

    As many depths as fit into ``AT_ONCE`` pass through a reconstruction layer together: where all
    do, it takes L calls on growing batches instead of L²/2.

    Args:
        reconstruction_layers: R_1, …, R_L.
        activations: a_1, …, a_L, each [n, …].
    """
    largest = max(activation.nbytes for activation in activations)
    together = max(AT_ONCE // max(largest, 1), 1)
    found: list[Tensor] = []
    for first in range(0, len(activations), together):
        found += _cascade(reconstruction_layers, activations[: first + together], first)
    return found


def _cascade(
    reconstruction_layers: Sequence[ReconstructionLayer], activations: Sequence[Tensor], first: int
) -> tuple[Tensor, ...]:
    """Reconstruct the input from all activations but the ``first`` shallowest."""
    n = len(activations[0])
    pending = activations[-1][:0]
    for number in reversed(range(len(activations))):
        activation = activations[number]
        pending = pending.reshape(-1, *activation.shape[1:])
        if number >= first:
            pending = torch.cat([activation, pending])
        pending = reconstruction_layers[number](pending)
    reconstructions: tuple[Tensor, ...] = pending.split(n)
    return reconstructions


def _in(tensors: Sequence[Tensor], precision: torch.dtype) -> list[Tensor]:
    return [tensor.to(precision) for tensor in tensors]


def _measure(
    names: Sequence[str],
    activations: Sequence[Tensor],
    reconstructions: Sequence[Tensor],
    inputs: Tensor,
    mean: Tensor,
) -> list[LayerMeasures]:
    """Measure each cascade on the held-out inputs [m, D]; further reconstructions are shown."""
    m = len(inputs)
    measures = [not_finite(name) for name in names]
    inputs, mean = solvable(inputs), solvable(mean)
    activations = [solvable(activation) for activation in activations]
    rows = [solvable(reconstruction).flatten(1) for reconstruction in reconstructions]
    # Finite activations may still be too large to be fitted: the squared error overflows.
    finite = [
        i
        for i, activation in enumerate(activations)
        if bool(torch.isfinite(activation).all() and torch.isfinite(rows[i]).all())
    ]
    if not finite:
        return measures
    found = measure(
        [names[i] for i in finite],
        [layer_gram(activations[i][:m], 0, MAX_FEATURES) for i in finite],
        inputs,
        torch.stack([rows[i][:m] for i in finite]),
        torch.tensor([retained_share(inputs, rows[i][:m], mean) for i in finite]).to(mean),
        [rows[i][m:] if len(rows[i]) > m else None for i in finite],
    )
    for i, layer in zip(finite, found, strict=True):
        measures[i] = layer
    return measures


def held_out_mask(n: int, share: float, device: torch.device) -> Tensor:
    """Which of n samples are held out: a boolean mask [n], at least two on either side.

    Evenly spread, so that data sorted by class has all its classes on both sides.
    """
    m = min(max(round(n * share), 2), n - 2)
    mask = torch.zeros(n, dtype=torch.bool, device=device)
    mask[(torch.arange(m, device=device) * n + n // 2) // m] = True
    return mask


def _depth(chain: Sequence[ChainLayer], layers: Sequence[str] | None) -> int:
    """How many layers of the chain are needed: by default all but the head."""
    if layers is None:
        return max(len(chain) - 1, 1)
    names = [layer.name for layer in chain]
    unknown = [name for name in layers if name not in names]
    if not layers or unknown:
        raise ValueError(
            f"`layers` must name layers of the chain, but got {unknown or list(layers)}; there "
            f"are {names}."
        )
    return 1 + max(names.index(name) for name in layers)
