"""Train all reconstruction layers of a cascade in the same pass over the inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

from recent_prune.probe.reconstructing.reconstruction_layer import ReconstructionLayer
from recent_prune.probe.reconstructing.reconstruction_stack import ReconstructionStack, stacked

CHECK = 100
"""Steps between two looks at whether the profile has settled."""


def bound(
    reconstruction_layers: Sequence[ReconstructionLayer], batches: Iterable[Sequence[Tensor]]
) -> None:
    """Let those layers end in a tanh whose targets lie within [−1, 1].

    Args:
        reconstruction_layers: R_1, …, R_L; their ``bounded`` is set.
        batches: Activations a_0 (the inputs), a_1, …, of samples that together stand for all.
    """
    for layer in reconstruction_layers:
        layer.bounded = True
    for activations in batches:
        for layer, before in zip(reconstruction_layers, activations, strict=False):
            layer.bounded &= bool((before.abs() <= 1).all())


def fit(
    reconstruction_layers: Sequence[ReconstructionLayer],
    batches: Iterator[list[Tensor]],
    *,
    learning_rate: float,
    settled: Callable[[], bool] = lambda: False,
) -> None:
    """Train all reconstruction layers in one pass, each on its own mean squared error.

    All are updated as one, and those of one shape stacked, where that is faster. They share no
    parameters and Adam works on each number by itself, so this does what an optimizer and a loss
    for each layer would.

    Args:
        reconstruction_layers: R_1, …, R_L; trained in place.
        batches: For each step the activations a_0 (the inputs), a_1, …, a_L (or deeper).
        learning_rate: Of Adam.
        settled: Asked after every ``CHECK`` steps whether to stop.
    """
    stacks = stacked(reconstruction_layers)
    parameters = [parameter for stack in stacks for parameter in stack.parameters.values()]
    optimizer = torch.optim.Adam(parameters, lr=learning_rate, fused=True)
    for step, activations in enumerate(batches, start=1):
        with torch.enable_grad():
            losses = [stack.loss(activations) for stack in stacks]
            optimizer.zero_grad()
            torch.stack(losses).sum().backward()
        optimizer.step()
        if step % CHECK == 0:
            _write_back(stacks)
            if settled():
                return
    _write_back(stacks)


def _write_back(stacks: Sequence[ReconstructionStack]) -> None:
    for stack in stacks:
        stack.write_back()
