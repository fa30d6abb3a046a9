"""One forward pass, of which the layers' Gram matrices are kept, and a few layers for a while."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from recent_prune.probe.batches.view import View
from recent_prune.probe.quantities.gram import MAX_FEATURES, LayerGram, Seen, layer_grams, seen
from recent_prune.probe.quantities.measures import LayerMeasures, Measured
from recent_prune.probe.restoring.devices import has_random_state, random_state
from recent_prune.probe.watching.activations import run_observed

KEPT = {"cpu": 2**22, "cuda": 2**26}
"""Bytes of activations that wait to be reduced together, at most (or one layer): on a GPU, and for
narrow layers, a call costs more than its arithmetic."""


@dataclass
class Observation:
    """What one forward pass leaves behind.

    Attributes:
        names: Of the layers.
        grams: Of their activations.
        embedding: What stands for token inputs, [n + shown, …], else None.
        largest: Bytes of the largest probed activation.
        stochastic: Whether the model drew random numbers.
        constant_output: Whether the output is the same for all samples, to the last bit, [].
        nonfinite_outputs: Share of the samples whose output is not finite, [].
        unseen: Weighted modules whose activations have no axis of samples.
        merged: Whether an activation has another axis merged with that of the samples.
        normalizes: Whether the model was seen to normalise by hand, [].
    """

    names: list[str]
    grams: list[LayerGram]
    embedding: Tensor | None = None
    largest: int = 0
    stochastic: bool = False
    constant_output: Tensor = field(default_factory=lambda: torch.tensor(False))
    nonfinite_outputs: Tensor = field(default_factory=lambda: torch.tensor(0.0))
    unseen: tuple[str, ...] = ()
    merged: bool = False
    normalizes: Tensor = field(default_factory=lambda: torch.tensor(False))

    def measured(self, layers: list[LayerMeasures], redundancy: float, **further: Any) -> Measured:
        """What an estimator says of the model, see :class:`Measured`."""
        return Measured(
            layers,
            redundancy,
            self.stochastic,
            bool(self.constant_output),
            float(self.nonfinite_outputs),
            bool(self.normalizes),
            self.merged,
            unseen=self.unseen,
            **further,
        )


def observe(
    model: nn.Module,
    batch: Tensor,
    shown: int,
    layers: Sequence[str] | None,
    forward: Callable[[Tensor], object] | None = None,
    perturbed: int = 0,
    models: int = 1,
) -> Observation:
    """Run a model once and reduce each probed activation as it passes.

    No branch depends on values: the model may be a stack of models under ``torch.vmap``.

    Args:
        model: In probing mode.
        batch: [n + shown + perturbed, …].
        shown: How many samples after the first n are only reconstructed.
        layers: As in :func:`run_observed`.
        forward: As in :func:`run_observed`.
        perturbed: How many samples at the end are the first ones, slightly perturbed.
        models: How many are in the stack.
    """
    kept = kept_on(batch.device) // models
    tokens = not (batch.is_floating_point() or batch.is_complex())
    reducer = _Reducer(shown, perturbed, tokens=tokens, kept=kept)
    before = random_states(batch.device)
    passed = run_observed(model, batch, reducer, layers, forward)
    after = random_states(batch.device)
    drawn = not all(map(torch.equal, before, after))
    return replace(reducer.observation(), stochastic=drawn, **passed._asdict())


def random_states(device: torch.device) -> list[Tensor]:
    """Of the CPU and of the device, to see whether anything was drawn."""
    states = [torch.default_generator.get_state()]
    return [*states, random_state(device)] if has_random_state(device) else states


class Reduction:
    """Lets a few layers wait, and reduces those of one shape together.

    Args:
        shown: As of :func:`layer_grams`.
        perturbed: As of :func:`layer_grams`.
        kept: Bytes of activations that wait at most.
    """

    def __init__(self, shown: int, perturbed: int, kept: int) -> None:
        self._shown = shown
        self._perturbed = perturbed
        self._kept = kept
        self._count = 0
        self._grams: dict[int, LayerGram] = {}
        self._waiting: dict[int, Seen] = {}
        self._waiting_bytes = 0

    def waits(self, layer: Seen) -> bool:
        """Whether it would not be reduced at once."""
        return self._waiting_bytes + _bytes(layer.rows) < self._kept

    def add(self, layer: Seen) -> None:
        """One more layer."""
        at_once = not self.waits(layer)
        self._waiting[self._count] = layer
        self._waiting_bytes += _bytes(layer.rows)
        self._count += 1
        if at_once:
            self._reduce()

    def grams(self) -> list[LayerGram]:
        """Of all layers, as they were added."""
        self._reduce()
        return [self._grams[place] for place in range(self._count)]

    def _reduce(self) -> None:
        groups: dict[tuple[torch.Size, torch.dtype], list[int]] = {}
        for place, layer in self._waiting.items():
            groups.setdefault((layer.rows.shape, layer.low.dtype), []).append(place)
        for group in groups.values():
            layers = [self._waiting[place] for place in group]
            grams = layer_grams(layers, self._shown, self._perturbed)
            self._grams.update(zip(group, grams, strict=True))
        self._waiting.clear()
        self._waiting_bytes = 0


class _Reducer:
    """Reduces activations as they pass."""

    def __init__(self, shown: int, perturbed: int, tokens: bool, kept: int) -> None:
        self._others = shown + perturbed
        self._perturbed = perturbed
        self._tokens = tokens
        self._names: list[str] = []
        self._reduction = Reduction(shown, perturbed, kept)
        self._embedding: Tensor | None = None
        self._largest = 0
        self._constant = torch.tensor(False)
        self._nonfinite = torch.tensor(0.0)

    def on_input(self, _: str, activation: Tensor, __: Tensor | None) -> None:
        self._embedding = _over_positions(activation)

    def on_layer(self, name: str, activation: Tensor, _: Tensor | None = None) -> None:
        self._largest = max(self._largest, _bytes(activation))
        if self._tokens:
            activation = _over_positions(activation)
        layer = seen(activation, len(activation) - self._others, MAX_FEATURES)
        if self._reduction.waits(layer) and _bytes(layer.rows) == _bytes(activation):
            # The model may go on to change its activations in place.
            layer = layer._replace(rows=layer.rows.clone())
        self._names.append(name)
        self._reduction.add(layer)

    def on_output(self, output: Tensor, others: Sequence[Tensor] = ()) -> None:
        rows = output[: len(output) - self._perturbed]
        beside = (other[: len(other) - self._perturbed] for other in others)
        same = [(each == each[:1]).all() for each in (rows, *beside)]
        self._constant = torch.stack(same).all()
        self._nonfinite = share_nonfinite(rows)

    def on_loss(self, loss: Tensor) -> None:
        self._nonfinite = share_nonfinite(loss[None])

    def observation(self) -> Observation:
        return Observation(
            self._names,
            self._reduction.grams(),
            self._embedding,
            self._largest,
            constant_output=self._constant,
            nonfinite_outputs=self._nonfinite,
        )


def share_nonfinite(rows: Tensor) -> Tensor:
    """Of the samples, [n, …], the share that holds NaN or infinity, []."""
    return (~rows.reshape(len(rows), -1).isfinite().all(dim=1)).float().mean()


def kept_on(device: torch.device) -> int:
    """Bytes of activations that wait to be reduced together, at most."""
    return KEPT.get(device.type, KEPT["cpu"])


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _over_positions(activation: Tensor) -> Tensor:
    return View(len(activation)).over_positions(activation)
