"""What a user's file may hold."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LIMIT = 3


def build(depth: int = 4, gain: float = 1.2) -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten()]
    for _ in range(depth):
        linear = nn.Linear(64, 64)
        nn.init.normal_(linear.weight, std=gain / 8)
        layers += [linear, nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear(64, 10))


def picky(depth: int = 4, gain: float = 1.2) -> nn.Module:
    if depth > LIMIT:
        raise RuntimeError(f"too deep: {depth}")
    return build(depth, gain)


def no_module() -> int:
    return 3


def samples() -> Tensor:
    return torch.rand(200, 4, generator=torch.Generator().manual_seed(0)) @ torch.ones(4, 64)


class Outer:
    build = staticmethod(build)
