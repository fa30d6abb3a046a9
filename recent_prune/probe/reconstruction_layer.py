"""One reconstruction layer: a small trainable inverse of one layer of a chain."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from recent_prune.probe.chain import RIDGE_INSTEAD, ChainLayer, Conv

_TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


class ReconstructionLayer(nn.Module):
    """Turns a layer's final activation back into the previous layer's.

    Linear → tanh for a linear layer; for a convolution a transposed convolution of the same
    kernel, stride and padding → tanh, its result cropped (or padded with zeros) to shape.
    Flattening is undone by reshaping and pooling by nearest-neighbour enlargement first.
    Parameters start as PyTorch initializes them.

    The tanh is left out where the activations to be reproduced exceed [−1, 1] (``bounded`` is
    False): the paper, whose networks are all tanh, had no such case.

    Args:
        layer: The layer to invert.

    Raises:
        ValueError: If pooling or flattening changed the shape in a way that cannot be undone.

    Source: arXiv 2406.12916, section 3; the authors' code for cropping.
    """

    def __init__(self, layer: ChainLayer) -> None:
        super().__init__()
        self.layer = layer
        self.bounded = True
        self.inverse: nn.Module
        if isinstance(layer.module, nn.Linear):
            self.inverse = nn.Linear(math.prod(layer.after), math.prod(layer.before))
        else:
            self._check(layer)
            self.inverse = _transposed(layer.module)

    def forward(self, activation: Tensor) -> Tensor:
        """Shape [n, *layer.after] → [n, *layer.before]."""
        if isinstance(self.inverse, nn.Linear):
            before = self.inverse(activation.flatten(1))
        else:
            folded = activation.reshape(-1, *self.layer.folded)
            spatial = self.layer.leaving[1:]
            if folded.shape[2:] != spatial:
                folded = nn.functional.interpolate(folded, size=spatial)
            before = _fit_to(self.inverse(folded), self.layer.entering[1:])
        before = before.reshape(-1, *self.layer.before)
        return torch.tanh(before) if self.bounded else before

    @staticmethod
    def _check(layer: ChainLayer) -> None:
        foldable = math.prod(layer.folded) == math.prod(layer.after)
        same_channels = layer.folded[0] == layer.leaving[0]
        same_size = math.prod(layer.entering) == math.prod(layer.before)
        if not (foldable and same_channels and same_size):
            raise ValueError(
                f"estimator='cascade' cannot undo the reshaping around {layer.name!r}: from "
                f"{layer.before} to {layer.entering} before the convolution, from "
                f"{layer.leaving} to {layer.after} after it; {RIDGE_INSTEAD}."
            )


def _transposed(conv: Conv) -> nn.Module:
    padding = conv.padding if not isinstance(conv.padding, str) else 0
    return _TRANSPOSED[len(conv.kernel_size)](
        conv.out_channels,
        conv.in_channels,
        conv.kernel_size,  # type: ignore[arg-type]
        stride=conv.stride,  # type: ignore[arg-type]
        padding=padding,  # type: ignore[arg-type]
        dilation=conv.dilation,  # type: ignore[arg-type]
        groups=conv.groups,
    )


def _fit_to(tensor: Tensor, spatial: tuple[int, ...]) -> Tensor:
    """Crop, or pad with zeros, at the far end of each spatial axis."""
    for axis, size in enumerate(spatial, start=2):
        missing = size - tensor.shape[axis]
        if missing > 0:
            pads = [0, 0] * (tensor.dim() - 1 - axis) + [0, missing]
            tensor = nn.functional.pad(tensor, pads)
        tensor = tensor.narrow(axis, 0, size)
    return tensor
