"""What the trials learn: nine tasks, none of which any part of the rules has seen."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.prediction.trials.tasks import Task
from recent_prune.data import load_fashion_mnist, load_mnist

IMAGES = ("vgg", "convnext", "mixer", "densenet")
TABLES = ("gated mlp", "table resnet", "sine mlp")
SEQUENCES = ("rnn", "bidirectional lstm", "dilated cnn", "linear attention")


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def fashion(root: Path) -> Task:
    """FashionMNIST at its own 28 × 28, in [0, 1]: 720 and 180 images where there are no more."""
    images = load_fashion_mnist(root).head(720, 180)
    train, test = (images.train, images.train_labels), (images.test, images.test_labels)
    return Task("fashion", "fashion", "classes", train, test, 10, IMAGES)


def denoising(root: Path) -> Task:
    """The same pooled to 14 × 14, with noise: what was there before?"""
    images = load_fashion_mnist(root).head(720, 180)
    pool = nn.AvgPool2d(2)

    def noisy(x: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        clean = pool(x)
        return clean + 0.3 * torch.randn(clean.shape, generator=_generator(seed)), clean.flatten(1)

    parts = noisy(images.train, 1), noisy(images.test, 2)
    return Task("denoising", "fashion", "values", *parts, 196, ("u-net", "gated mlp"))


def two_digits(root: Path) -> Task:
    """Which digits are among the two that lie side by side? Ten answers a sample."""
    images = load_mnist(root).head(6000, 1600)
    pool = nn.AvgPool2d(2)

    def pairs(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        left, right = pool(x)[::2], pool(x)[1::2]
        there = nn.functional.one_hot(y, 10)
        return torch.cat([left, right], dim=3), (there[::2] | there[1::2]).float()

    train = pairs(images.train, images.train_labels)
    test = pairs(images.test, images.test_labels)
    return Task("two digits", "mnist", "bits", train, test, 10, ("vgg", "convnext", "mixer"))


def spirals(_: Path) -> Task:
    """On which of three arms does the point lie?"""

    def drawn(n: int, seed: int) -> tuple[Tensor, Tensor]:
        g = _generator(seed)
        arm, along = torch.randint(3, (n,), generator=g), torch.rand(n, generator=g)
        angle = 2 * math.pi * (arm / 3 + along)
        xy = along[:, None] * torch.stack([angle.cos(), angle.sin()], dim=1)
        return 2 * xy + 0.03 * torch.randn(n, 2, generator=g), arm

    return Task("spirals", "spirals", "classes", drawn(3000, 3), drawn(800, 4), 3, TABLES)


def madelon(_: Path) -> Task:
    """Four classes of clusters in eight of sixty numbers, as they come, not standardized."""
    from sklearn.datasets import make_classification

    x, y = make_classification(
        3800, 60, n_informative=8, n_redundant=12, n_classes=4, scale=3.0, random_state=0
    )
    inputs, labels = torch.tensor(x).float(), torch.tensor(y)
    parts = (inputs[:3000], labels[:3000]), (inputs[3000:], labels[3000:])
    return Task("madelon", "madelon", "classes", *parts, 4, ("gated mlp", "table resnet"))


def heavy_tails(_: Path) -> Task:
    """A number with noise of heavy tails, from thirty numbers of unlike scales."""
    g = _generator(5)
    x = torch.randn(3800, 30, generator=g)
    weights = torch.randn(30, 2, generator=g) / 30**0.5
    y = (x @ weights).sin().sum(dim=1, keepdim=True)
    noise = torch.randn(3800, 1, generator=g) / torch.rand(3800, 1, generator=g).sqrt()
    y = y + 0.1 * noise.clamp(-10, 10)
    y = (y - y[:3000].mean()) / y[:3000].std()
    x = x * torch.logspace(-1, 1, 30)
    parts = (x[:3000], y[:3000]), (x[3000:], y[3000:])
    return Task("heavy tails", "heavy tails", "values", *parts, 1, ("gated mlp", "table resnet"))


def lorenz(_: Path) -> Task:
    """Where will the Lorenz system be in ten steps, after thirty of them?"""
    state = torch.tensor([1.0, 1.0, 20.0])
    states = []
    for _step in range(40_000):
        x, y, z = state
        state = state + 0.01 * torch.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z])
        states.append(state)
    path = torch.stack(states[2000:])
    path = (path - path.mean(dim=0)) / path.std(dim=0)
    windows = path.unfold(0, 40, 10).transpose(1, 2)
    x, y = windows[:, :30], windows[:, -1]
    parts = (x[:2900], y[:2900]), (x[2940:], y[2940:])
    return Task("lorenz", "lorenz", "values", *parts, 3, SEQUENCES)


def brackets(_: Path) -> Task:
    """Do the brackets, of two kinds, close as they open? Half of the rows have one changed."""

    def row(g: torch.Generator) -> list[int]:
        opened: list[int] = []
        out: list[int] = []
        for left in range(16, 0, -1):
            must_close = len(opened) >= left
            if opened and (must_close or float(torch.rand(1, generator=g)) < 0.5):
                out.append(opened.pop() + 2)
            else:
                kind = int(torch.randint(2, (1,), generator=g))
                opened.append(kind)
                out.append(kind)
        return out

    def drawn(n: int, seed: int) -> tuple[Tensor, Tensor]:
        g = _generator(seed)
        x = torch.tensor([row(g) for _ in range(n)])
        broken = torch.rand(n, generator=g) < 0.5
        place = torch.randint(16, (n,), generator=g)
        change = torch.randint(1, 4, (n,), generator=g)
        rows = torch.arange(n)[broken]
        x[rows, place[broken]] = (x[rows, place[broken]] + change[broken]) % 4
        return x, broken.long()

    parts = drawn(3000, 6), drawn(800, 7)
    return Task("brackets", "brackets", "classes", *parts, 2, SEQUENCES, 4)


def majority(_: Path) -> Task:
    """Which of five symbols is the commonest of fifteen?"""

    def drawn(n: int, seed: int) -> tuple[Tensor, Tensor]:
        x = torch.randint(5, (4 * n, 15), generator=_generator(seed))
        counts = nn.functional.one_hot(x, 5).sum(dim=1)
        most = counts.topk(2).values
        clear = most[:, 0] > most[:, 1]
        return x[clear][:n], counts[clear][:n].argmax(dim=1)

    parts = drawn(3000, 8), drawn(800, 9)
    return Task("majority", "majority", "classes", *parts, 5, SEQUENCES, 5)


TASKS: dict[str, Callable[[Path], Task]] = {
    "fashion": fashion,
    "denoising": denoising,
    "two digits": two_digits,
    "spirals": spirals,
    "madelon": madelon,
    "heavy tails": heavy_tails,
    "lorenz": lorenz,
    "brackets": brackets,
    "majority": majority,
}
"""By name: from the folder with the data sets to the task."""


@cache
def task(name: str, root: Path) -> Task:
    """A task, made once in a process."""
    return TASKS[name](root)
