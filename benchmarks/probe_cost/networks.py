"""Networks whose probe is timed, and what they are fed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recent_prune import networks


@dataclass(frozen=True)
class Case:
    """A network and the shape of its samples."""

    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]


def mlp(depth: int, width: int, weight_variance: float = 1.76, seed: int = 0) -> nn.Module:
    """A tanh MLP for 784 features, or as many as it is wide, if these are more."""
    features = max(width, 784)
    return networks.mlp(
        features, 10, depth=depth, width=width, weight_variance=weight_variance, seed=seed
    )


def cnn(depth: int, channels: int = 128) -> nn.Sequential:
    """The paper's CNN: a strided stem, then 3 × 3 convolutions with tanh, σ_w² = 1."""
    layers: list[nn.Module] = []
    strides = [1, 2, 2] + [1] * (depth - 3)
    for i, stride in enumerate(strides):
        fan_in = 1 if i == 0 else channels
        conv = nn.Conv2d(fan_in, channels, 3, stride, 1, padding_mode="circular")
        nn.init.normal_(conv.weight, std=(1 / (9 * fan_in)) ** 0.5)
        layers += [conv, nn.Tanh()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * 49, 10))


def resnet() -> nn.Module:
    """Torchvision's ResNet-18, which needs the extra ``demo``."""
    from torchvision.models import resnet18

    model = resnet18(num_classes=10)
    assert isinstance(model, nn.Module)
    return model


CASES = [
    Case("MLP 20 × 784, tanh", lambda: mlp(20, 784), (784,)),
    Case("MLP 50 × 784, tanh", lambda: mlp(50, 784), (784,)),
    Case("MLP 50 × 64, tanh", lambda: mlp(50, 64), (784,)),
    Case("CNN 50 × 128 channels", lambda: cnn(50), (1, 28, 28)),
    Case("ResNet-18, 32 × 32", resnet, (3, 32, 32)),
]


def samples(count: int, shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Mixtures of 64 patterns with a falling spectrum, [count, *shape]: alike as images are."""
    generator = torch.Generator().manual_seed(0)
    patterns = torch.randn(64, math.prod(shape), generator=generator)
    weights = torch.randn(count, 64, generator=generator) / torch.arange(1, 65)
    return (0.5 * weights @ patterns).reshape(count, *shape).to(device)
