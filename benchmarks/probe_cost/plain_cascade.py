"""The cascade as published: layer by layer, each with a loss, a backward pass and an own Adam."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from recent_prune.probe.reconstructing.reconstruction_layer import ReconstructionLayer


def plain_fit(layers: Sequence[ReconstructionLayer], batches: Iterable[list[Tensor]]) -> None:
    """Train reconstruction layers in a plain loop, as `fit` of the probe does as one.

    Args:
        layers: R_1, …, R_L; trained in place.
        batches: For each step the activations a_0 (the inputs), a_1, …, a_L (or deeper).
    """
    optimizers = [torch.optim.Adam(layer.parameters(), lr=1e-3) for layer in layers]
    for activations in batches:
        for number, (layer, optimizer) in enumerate(zip(layers, optimizers, strict=True)):
            with torch.enable_grad():
                loss = nn.functional.mse_loss(layer(activations[number + 1]), activations[number])
                optimizer.zero_grad()
                loss.backward()
            optimizer.step()
