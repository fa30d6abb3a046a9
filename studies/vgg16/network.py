"""VGG16 as one chain, and its layers by their usual names."""

from __future__ import annotations

from enum import StrEnum

import torch
from torch import Tensor, nn
from torchvision.models import VGG16_Weights, vgg16
from torchvision.transforms import Normalize

BLOCKS = (2, 2, 3, 3, 3)
"""Convolutions in each block; a pooling layer ends it."""

LAYERS = (
    *(f"conv{b}_{i}" for b, count in enumerate(BLOCKS, start=1) for i in range(1, count + 1)),
    *("fc6", "fc7", "fc8"),
)
"""Of all weighted layers, by the names of its authors' Caffe model; the last is the head."""

BLOCK_ENDS = tuple(f"conv{b}_{count}" for b, count in enumerate(BLOCKS, start=1))

IMAGENET = VGG16_Weights.IMAGENET1K_V1


class Weights(StrEnum):
    """Where the weights come from."""

    RANDOM = "random"
    IMAGENET = "imagenet"


def network(weights: Weights) -> nn.Sequential:
    """VGG16 from pixels in [0, 1] to logits, normalisation of the pixels included.

    Both networks normalise as the pretrained one wants it. Random weights are torchvision's
    (normal, fan-out), from a fixed seed.

    Raises:
        RuntimeError: If the pretrained weights are neither on file nor to be downloaded.
    """
    torch.manual_seed(0)
    try:
        vgg = vgg16(weights=IMAGENET if weights is Weights.IMAGENET else None)
    except OSError as error:
        raise RuntimeError(
            f"VGG16's pretrained weights could not be downloaded ({error}): put "
            f"{IMAGENET.url} into {torch.hub.get_dir()}/checkpoints, or use --weights random."
        ) from error
    wanted = IMAGENET.transforms()
    return nn.Sequential(
        Normalize(wanted.mean, wanted.std),
        *vgg.features,
        vgg.avgpool,
        nn.Flatten(),
        *vgg.classifier,
    )


def place(model: nn.Sequential, layer: str) -> int:
    """Index of the module that makes a layer's activation: its ReLU, or the head."""
    places = [i for i, module in enumerate(model) if isinstance(module, nn.ReLU)]
    return [*places, len(model) - 1][LAYERS.index(layer)]


class Channels(nn.Module):
    """VGG16 up to a convolution, whose channels then pass one by one, as ``channels.0``, ….

    Args:
        model: As from :func:`network`; its modules are shared, not copied.
        layer: Of ``LAYERS``, a convolution.
    """

    def __init__(self, model: nn.Sequential, layer: str) -> None:
        super().__init__()
        self.before = model[: place(model, layer) + 1]
        convolution = self.before[-2]
        assert isinstance(convolution, nn.Conv2d)
        self.channels = nn.ModuleList(nn.Identity() for _ in range(convolution.out_channels))

    @property
    def names(self) -> list[str]:
        """Of the channels, as modules."""
        return [f"channels.{i}" for i in range(len(self.channels))]

    def forward(self, images: Tensor) -> Tensor:
        """Maps [n, channels, h, w] of images [n, 3, …]."""
        maps = self.before(images).unbind(dim=1)
        seen = [channel(each) for channel, each in zip(self.channels, maps, strict=True)]
        return torch.stack(seen, dim=1)
