"""The way back: how the gradients of a loss arrive at each layer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from recent_prune.probe.quantities.comparing import are_same, hash_of
from recent_prune.probe.quantities.moves import Move
from recent_prune.probe.restoring.interrupts import putting_back
from recent_prune.probe.watching.modules import is_normalization, named_modules, own_weights


@dataclass(frozen=True)
class GradientProfile:
    """How the gradients of one batch arrive at the weights, in the order of execution.

    Attributes:
        layers: Names of the weighted modules that train, the head included.
        gradient_rms: Root mean square of the gradient of each one's weights, in units of the
            loss per unit of weight; 0 where none arrives.
        weight_rms: Root mean square of the weights.
        update_ratio: Root mean square of the first update divided by that of the weights, infinite
            for weights of zero. About 1e-3 is healthy by a rule of thumb. (None in what version 0.1
            wrote without a learning rate.)
        loss: Of the batch at initialization (nats for a cross-entropy).
    """

    layers: tuple[str, ...]
    gradient_rms: tuple[float, ...]
    weight_rms: tuple[float, ...]
    update_ratio: tuple[float, ...] | None
    loss: float

    def __eq__(self, other: object) -> bool:
        """Whether all that was found is the same; NaN is NaN."""
        return are_same(self, other)

    __hash__ = hash_of


class LayerWeights:
    """The weights of a model by layer, normalisations aside.

    Args:
        model: Any module; its parameters may be shared and frozen.
    """

    def __init__(self, model: nn.Module) -> None:
        self._weights: dict[str, list[nn.Parameter]] = {}
        self._modules: dict[str, nn.Module] = {}
        for name, module in named_modules(model):
            own = [p for p in own_weights(module) if p.requires_grad]
            if own and not is_normalization(module):
                self._weights[name] = own
                self._modules[name] = module
        self._called: list[str] = []

    @property
    def names(self) -> list[str]:
        """In the order of execution, once that was `watched`."""
        return _in_order(self._called, list(self._weights))

    @putting_back
    def watched(self) -> Iterator[None]:
        """See in which order the layers are called."""
        handles = [
            module.register_forward_pre_hook(lambda *_, n=name: self._called.append(n))
            for name, module in self._modules.items()
            if not isinstance(module, torch.jit.ScriptModule)  # which takes no hooks
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def profile(self, moves: Mapping[int, Move], loss: float) -> GradientProfile:
        """Of the gradients that lay at the weights, and of the update that they have made.

        Args:
            moves: Of the weights in the first update, by their id.
            loss: Whose gradients they are.
        """
        return GradientProfile(
            layers=tuple(name or "model" for name in self.names),
            gradient_rms=tuple(_rms(layer, "gradient") for layer in self._layers(moves)),
            weight_rms=tuple(_rms(layer, "weight") for layer in self._layers(moves)),
            update_ratio=self.update_ratios(moves),
            loss=loss,
        )

    def update_ratios(self, moves: Mapping[int, Move]) -> tuple[float, ...]:
        """Root mean square of what each layer's weights were moved by, over that of the weights."""
        layers = self._layers(moves)
        return tuple(_ratio(_rms(layer, "update"), _rms(layer, "weight")) for layer in layers)

    def _layers(self, moves: Mapping[int, Move]) -> list[list[Move]]:
        return [[moves[id(weight)] for weight in self._weights[name]] for name in self.names]


def _ratio(update: float, weight: float) -> float:
    if weight == 0:
        return 0.0 if update == 0 else math.inf
    return update / weight


def _in_order(called: list[str], names: list[str]) -> list[str]:
    """Names in the order of their first call; those never called behind their parent module.

    Attention, for one, uses the weights of a child without calling it.
    """
    order = [name for name in dict.fromkeys(called) if name in names]
    for name in names:
        if name not in order:
            parent = name.rpartition(".")[0]
            order.insert(order.index(parent) + 1 if parent in order else len(order), name)
    return order


def _rms(layer: Sequence[Move], which: Literal["gradient", "weight", "update"]) -> float:
    count = sum(move.count for move in layer)
    norm = math.hypot(*(getattr(move, which) for move in layer))
    return norm / math.sqrt(count) if count else math.nan
