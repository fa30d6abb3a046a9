"""What the rooms of own models share: how an entry is made, and two small networks."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from torch import nn

from benchmarks.zoo.specification import Batches, Entry, OptimizerFactory, adam, training


def own(
    name: str,
    family: str,
    build: Callable[[], nn.Module],
    batches: Batches,
    loss: Any,
    optimizer: OptimizerFactory | None = None,
    *,
    call: Any = None,
    confirm: bool = True,
) -> Entry:
    """An entry of an own model, with Adam 1e-3 if nothing else is said."""
    trial = training(loss, optimizer or adam(), call)
    return Entry(f"own {name}", "own", family, build, batches, trial, confirm=confirm)


def small_cnn(outputs: int = 10, channels: int = 3, width: int = 16) -> nn.Sequential:
    """Three convolutions with batch normalization."""
    layers: list[nn.Module] = []
    for a, b in ((channels, width), (width, 2 * width), (2 * width, 2 * width)):
        layers += [nn.Conv2d(a, b, 3, 2, 1), nn.BatchNorm2d(b), nn.ReLU()]
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * width, outputs)
    )


def mlp(*widths: int, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers of these widths."""
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), activation()]
    return nn.Sequential(*layers[:-1])
