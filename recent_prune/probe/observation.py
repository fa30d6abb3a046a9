"""One forward pass, of which only the layers' Gram matrices are kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recent_prune.probe.activations import run_observed
from recent_prune.probe.gram import MAX_FEATURES, LayerGram, layer_gram


@dataclass
class Observation:
    """What one forward pass leaves behind.

    Attributes:
        names: Of the layers.
        grams: Of their activations.
        embedding: What stands for token inputs, [n + shown, …], else None.
        largest: Bytes of the largest probed activation.
    """

    names: list[str]
    grams: list[LayerGram]
    embedding: Tensor | None = None
    largest: int = 0


def observe(
    model: nn.Module,
    batch: Tensor,
    shown: int,
    layers: Sequence[str] | None,
    forward: Callable[[Tensor], object] | None = None,
    perturbed: int = 0,
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
    """
    reducer = _Reducer(shown, perturbed, tokens=not batch.is_floating_point())
    run_observed(model, batch, reducer, layers, forward)
    return reducer.observation


class _Reducer:
    def __init__(self, shown: int, perturbed: int, tokens: bool) -> None:
        self._shown = shown
        self._perturbed = perturbed
        self._tokens = tokens
        self.observation = Observation([], [])

    def on_input(self, activation: Tensor) -> None:
        self.observation.embedding = _over_positions(activation)

    def on_layer(self, name: str, activation: Tensor) -> None:
        found = self.observation
        found.largest = max(found.largest, activation.numel() * activation.element_size())
        if self._tokens:
            activation = _over_positions(activation)
        found.names.append(name)
        gram = layer_gram(activation, self._shown, MAX_FEATURES, self._perturbed)
        found.grams.append(gram)


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
