"""Reconstruction layers of one shape, trained as one."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor, nn

from recent_prune.probe.reconstructing.reconstruction_layer import ReconstructionLayer

LARGEST_ON_CPU = 2**16
"""Parameters of a linear reconstruction layer: larger ones, and convolutions, are as fast one after
the other on a CPU (``benchmarks/probe_cost``)."""


class ReconstructionStack:
    """Reconstruction layers that differ in nothing but their weights, with stacked parameters.

    A stack of one is the layer itself.

    Args:
        layers: Of one shape.
        places: Which layer of the cascade each one is, counted from 0.

    Attributes:
        parameters: By name, [g, …] each.
    """

    def __init__(self, layers: Sequence[ReconstructionLayer], places: Sequence[int]) -> None:
        self._layers = layers
        self._places = places
        self.parameters: dict[str, Tensor] = dict(layers[0].named_parameters())
        if len(layers) > 1:
            for name in self.parameters:
                own = [layer.get_parameter(name).detach() for layer in layers]
                self.parameters[name] = torch.stack(own).requires_grad_()

    def loss(self, activations: Sequence[Tensor]) -> Tensor:
        """Sum over the layers of each one's mean squared error.

        Args:
            activations: a_0 (the inputs), a_1, …, each [n, …].
        """
        if len(self._layers) == 1:
            (place,) = self._places
            return nn.functional.mse_loss(
                self._layers[0](activations[place + 1]), activations[place]
            )
        before = torch.stack([activations[place] for place in self._places])
        after = torch.stack([activations[place + 1] for place in self._places])
        return (self._reconstructed(after) - before).square().flatten(1).mean(dim=1).sum()

    def write_back(self) -> None:
        """Give each layer its trained parameters."""
        if len(self._layers) == 1:
            return
        with torch.no_grad():
            for name, stack in self.parameters.items():
                for layer, trained in zip(self._layers, stack, strict=True):
                    layer.get_parameter(name).copy_(trained)

    def _reconstructed(self, after: Tensor) -> Tensor:
        template = self._layers[0]

        def one(parameters: dict[str, Tensor], activation: Tensor) -> Tensor:
            result: Tensor = torch.func.functional_call(template, parameters, (activation,))
            return result

        return torch.vmap(one)(self.parameters, after)


def stacked(layers: Sequence[ReconstructionLayer]) -> list[ReconstructionStack]:
    """Reconstruction layers in stacks of one shape each, where stacks are faster."""
    groups: dict[Hashable, list[int]] = {}
    for place, layer in enumerate(layers):
        key = _shape(layer) if _pays(layer) else place
        groups.setdefault(key, []).append(place)
    return [
        ReconstructionStack([layers[place] for place in places], places)
        for places in groups.values()
    ]


def _pays(layer: ReconstructionLayer) -> bool:
    """Whether a stack is faster: on a CPU only where a call costs more than its arithmetic."""
    parameters = list(layer.parameters())
    if parameters[0].device.type != "cpu":
        return True
    linear = all(isinstance(inverse, nn.Linear) for inverse in layer.inverses)
    return linear and sum(p.numel() for p in parameters) <= LARGEST_ON_CPU


def _shape(layer: ReconstructionLayer) -> Hashable:
    """All that the forward pass of a reconstruction layer depends on but its weights."""
    chain = layer.layer
    # A module's one-line description has its sizes, strides, padding and so on.
    steps = tuple((repr(step.module), step.entering, step.leaving) for step in chain.steps)
    return layer.bounded, chain.before, chain.folded, chain.after, steps
