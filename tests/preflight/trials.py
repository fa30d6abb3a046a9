"""Small trials to be estimated."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

import recent_prune as rp

X, Y = torch.randn(128, 256), torch.randint(10, (128,))
WIDE, BYTES = 1024, 4


def sgd(parameters: Iterable[nn.Parameter]) -> Optimizer:
    return torch.optim.SGD(parameters, 0.1, momentum=0.9)


def adam(parameters: Iterable[nn.Parameter]) -> Optimizer:
    return torch.optim.Adam(parameters, 1e-3)


def mlp(depth: int = 3, width: int = WIDE) -> nn.Sequential:
    sizes = [256, *[width] * depth]
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def estimate(model: Any, optimizer: Any = sgd, batch: Any = (X, Y), **other: Any) -> Any:
    loss = other.pop("loss", cross_entropy)
    device = other.pop("device", None)
    training = rp.Training(loss, optimizer, batch_size=128, **other)
    return rp.preflight(model, [batch], training, device=device)


class Unrolled(nn.Module):
    """How often it runs its layer depends on values: fake tensors do not go."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(256, 256)
        self.norm = nn.BatchNorm1d(256)
        self.head = nn.Linear(256, 10)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(2 + int((x.sum() > 1e9).item())):
            x = torch.relu(self.layer(x))
        out: Tensor = self.head(self.norm(x))
        return out
