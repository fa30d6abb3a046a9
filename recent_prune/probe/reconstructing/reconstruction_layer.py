"""One reconstruction layer: a small trainable inverse of one layer of a chain."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recent_prune.probe.reconstructing.chain import RIDGE_INSTEAD, ChainLayer, Conv, Step

_TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


class ReconstructionLayer(nn.Module):
    """Turns a layer's final activation back into the previous layer's.

    Linear → tanh for a linear layer; for a convolution a transposed convolution of the same
    kernel, stride and padding → tanh, its result cropped (or padded with zeros) to shape; for a
    residual block one of these for each step of its longest way, backwards. Flattening is undone
    by reshaping and pooling by nearest-neighbour enlargement first.
    Parameters start as PyTorch initializes them.

    The last tanh is left out where the activations to be reproduced exceed [−1, 1] (``bounded``
    is False): the paper, whose networks are all tanh, had no such case.

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
        self._legs = _legs(layer)
        self.inverses = nn.ModuleList(_inverse(leg, layer) for leg in self._legs)

    def forward(self, activation: Tensor) -> Tensor:
        """Shape [n, *layer.after] → [n, *layer.before]."""
        for number, (leg, inverse) in enumerate(zip(self._legs, self.inverses, strict=True)):
            if number:
                activation = torch.tanh(activation)
            if isinstance(leg.step.module, nn.Linear):
                before = inverse(activation.flatten(1))
            else:
                folded = activation.reshape(-1, *leg.folded)
                spatial = leg.step.leaving[1:]
                if folded.shape[2:] != spatial:
                    folded = nn.functional.interpolate(folded, size=spatial)
                before = _fit_to(inverse(folded), leg.step.entering[1:])
            activation = before.reshape(-1, *leg.before)
        return torch.tanh(activation) if self.bounded else activation


@dataclass(frozen=True)
class _Leg:
    """One step to be undone: from ``folded`` (flattened: ``after``) back to ``before``."""

    step: Step
    before: tuple[int, ...]
    folded: tuple[int, ...]
    after: tuple[int, ...]


def _legs(layer: ChainLayer) -> list[_Leg]:
    """The steps of a layer, last first."""
    starts = [layer.before, *(step.entering for step in layer.steps[1:])]
    folded = [*starts[1:], layer.folded]
    ends = [*starts[1:], layer.after]
    return list(map(_Leg, layer.steps, starts, folded, ends))[::-1]


def _inverse(leg: _Leg, layer: ChainLayer) -> nn.Module:
    if isinstance(leg.step.module, nn.Linear):
        return nn.Linear(math.prod(leg.after), math.prod(leg.before))
    foldable = math.prod(leg.folded) == math.prod(leg.after)
    same_channels = leg.folded[0] == leg.step.leaving[0]
    same_size = math.prod(leg.step.entering) == math.prod(leg.before)
    if not (foldable and same_channels and same_size):
        raise ValueError(
            f"estimator='cascade' cannot undo the reshaping around {layer.name!r}: from "
            f"{leg.before} to {leg.step.entering} before the convolution, from "
            f"{leg.step.leaving} to {leg.after} after it; {RIDGE_INSTEAD}."
        )
    return _transposed(leg.step.module)


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
