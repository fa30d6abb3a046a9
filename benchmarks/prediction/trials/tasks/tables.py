"""Tables, and functions of a position."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from benchmarks.prediction.trials.tasks.task import TABLES, Task, classes, generator


def _table(name: str, x: Tensor, y: Tensor) -> Task:
    order = torch.randperm(len(x), generator=generator(4))
    x, y = x[order].float(), y[order]
    cut = len(x) * 3 // 4
    x = (x - x[:cut].mean(0)) / x[:cut].std(0).clamp_min(1e-6)
    if y.is_floating_point():
        y = ((y - y[:cut].mean()) / y[:cut].std()).float()[:, None]
        return Task(name, name, "values", (x[:cut], y[:cut]), (x[cut:], y[cut:]), 1, TABLES)
    return classes(name, name, x[:cut], y[:cut], x[cut:], y[cut:])


def embedded(name: str) -> Task:
    """A table embedded in scikit-learn: ``breast_cancer``, ``wine`` or ``diabetes``."""
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")()
    return _table(name, torch.tensor(bunch.data), torch.tensor(bunch.target))


def teacher(name: str) -> Task:
    """What a random network of 20 inputs says: five classes, or a number with noise."""
    g = generator(5)
    x = torch.randn(6000, 20, generator=g)
    first, second = torch.randn(20, 24, generator=g), torch.randn(24, 5, generator=g)
    out = torch.tanh(x @ first / 20**0.5 * 2) @ second
    if name == "teacher classes":
        return _table(name, x, out.argmax(1))
    return _table(name, x, out[:, 0] + 0.1 * torch.randn(6000, generator=g))


def friedman(_: Path) -> Task:
    """Friedman's first function of ten numbers."""
    from sklearn.datasets import make_friedman1

    x, y = make_friedman1(4000, noise=0.5, random_state=0)
    return _table("friedman", torch.tensor(x), torch.tensor(y))


def coordinates(_: Path) -> Task:
    """A picture as a function of the position."""

    def drawn(n: int, seed: int) -> tuple[Tensor, Tensor]:
        xy = 2 * torch.rand(n, 2, generator=generator(seed)) - 1
        rings = torch.cos(9 * xy.norm(dim=1, keepdim=True))
        return xy, rings + (xy[:, :1] * xy[:, 1:] > 0).float()

    families = ("fourier mlp", "deep mlp")
    return Task("coordinates", "coordinates", "values", drawn(6000, 8), drawn(1000, 9), 1, families)
