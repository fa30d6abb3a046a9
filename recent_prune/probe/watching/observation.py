"""One forward pass, of which the layers' Gram matrices are kept, and a few layers for a while."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from recent_prune.probe.quantities.gram import MAX_FEATURES, LayerGram, Seen, layer_grams, seen
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
    """

    names: list[str]
    grams: list[LayerGram]
    embedding: Tensor | None = None
    largest: int = 0
    stochastic: bool = False
    constant_output: Tensor = field(default_factory=lambda: torch.tensor(False))


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
    kept = KEPT.get(batch.device.type, KEPT["cpu"]) // models
    reducer = _Reducer(shown, perturbed, tokens=not batch.is_floating_point(), kept=kept)
    before = _random_states(batch.device)
    run_observed(model, batch, reducer, layers, forward)
    after = _random_states(batch.device)
    drawn = not all(map(torch.equal, before, after))
    return replace(reducer.observation(), stochastic=drawn)


def _random_states(device: torch.device) -> list[Tensor]:
    states = [torch.default_generator.get_state()]
    return [*states, random_state(device)] if has_random_state(device) else states


class _Reducer:
    """Lets a few layers wait, and reduces those of one shape together."""

    def __init__(self, shown: int, perturbed: int, tokens: bool, kept: int) -> None:
        self._shown = shown
        self._perturbed = perturbed
        self._tokens = tokens
        self._kept = kept
        self._names: list[str] = []
        self._grams: dict[int, LayerGram] = {}
        self._waiting: list[tuple[int, Seen]] = []
        self._waiting_bytes = 0
        self._embedding: Tensor | None = None
        self._largest = 0
        self._constant = torch.tensor(False)

    def on_input(self, activation: Tensor) -> None:
        self._embedding = _over_positions(activation)

    def on_layer(self, name: str, activation: Tensor) -> None:
        self._largest = max(self._largest, _bytes(activation))
        if self._tokens:
            activation = _over_positions(activation)
        layer = seen(activation, len(activation) - self._shown - self._perturbed, MAX_FEATURES)
        self._waiting_bytes += _bytes(layer.rows)
        full = self._waiting_bytes >= self._kept
        if not full and _bytes(layer.rows) == _bytes(activation):
            # The model may go on to change its activations in place.
            layer = layer._replace(rows=layer.rows.clone())
        self._waiting.append((len(self._names), layer))
        self._names.append(name)
        if full:
            self._reduce()

    def on_output(self, output: Tensor) -> None:
        rows = output[: len(output) - self._perturbed]
        self._constant = (rows == rows[:1]).all()

    def observation(self) -> Observation:
        self._reduce()
        grams = [self._grams[place] for place in range(len(self._names))]
        return Observation(
            self._names,
            grams,
            self._embedding,
            self._largest,
            constant_output=self._constant,
        )

    def _reduce(self) -> None:
        groups: dict[tuple[torch.Size, torch.dtype], list[tuple[int, Seen]]] = {}
        for place, layer in self._waiting:
            groups.setdefault((layer.rows.shape, layer.low.dtype), []).append((place, layer))
        for group in groups.values():
            grams = layer_grams([layer for _, layer in group], self._shown, self._perturbed)
            self._grams.update(zip((place for place, _ in group), grams, strict=True))
        self._waiting.clear()
        self._waiting_bytes = 0


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _over_positions(activation: Tensor) -> Tensor:
    """Of token sequences [n, t, d] the sum over positions / √t, [n, d].

    A few hundred samples cannot tell t · d independent features apart, but d of them. The sum of
    independent positions / √t has the variance of one, so noise floors keep their meaning.
    """
    if activation.dim() < 3:
        return activation
    positions = activation.flatten(1, -2)
    precise = torch.promote_types(positions.dtype, torch.float32)
    return positions.sum(dim=1, dtype=precise) / math.sqrt(positions.shape[1])
