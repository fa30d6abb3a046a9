"""One forward pass, of which the layers' Gram matrices are kept, and a few layers for a while."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from recent_prune.probe.batches.view import View
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
        unseen: Weighted modules whose activations have no axis of samples.
    """

    names: list[str]
    grams: list[LayerGram]
    embedding: Tensor | None = None
    largest: int = 0
    stochastic: bool = False
    constant_output: Tensor = field(default_factory=lambda: torch.tensor(False))
    unseen: tuple[str, ...] = ()


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
    tokens = not (batch.is_floating_point() or batch.is_complex())
    reducer = _Reducer(shown, perturbed, tokens=tokens, kept=kept)
    before = random_states(batch.device)
    unseen = run_observed(model, batch, reducer, layers, forward)
    after = random_states(batch.device)
    drawn = not all(map(torch.equal, before, after))
    return replace(reducer.observation(), stochastic=drawn, unseen=unseen)


def random_states(device: torch.device) -> list[Tensor]:
    """Of the CPU and of the device, to see whether anything was drawn."""
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

    def on_input(self, _: str, activation: Tensor, __: Tensor | None) -> None:
        self._embedding = _over_positions(activation)

    def on_layer(self, name: str, activation: Tensor, _: Tensor | None = None) -> None:
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
        places = [place for place, _ in self._waiting]
        grams = reduced([layer for _, layer in self._waiting], self._shown, self._perturbed)
        self._grams.update(zip(places, grams, strict=True))
        self._waiting.clear()
        self._waiting_bytes = 0


def reduced(layers: Sequence[Seen], shown: int, perturbed: int) -> list[LayerGram]:
    """Gram matrices of layers, those of one shape together."""
    groups: dict[tuple[torch.Size, torch.dtype], list[int]] = {}
    for place, layer in enumerate(layers):
        groups.setdefault((layer.rows.shape, layer.low.dtype), []).append(place)
    found: dict[int, LayerGram] = {}
    for group in groups.values():
        grams = layer_grams([layers[place] for place in group], shown, perturbed)
        found.update(zip(group, grams, strict=True))
    return [found[place] for place in range(len(layers))]


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _over_positions(activation: Tensor) -> Tensor:
    return View(len(activation)).over_positions(activation)
