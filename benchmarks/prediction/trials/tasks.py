"""What the trials learn: 23 tasks of 17 data sets, each small enough to be trained on one core.

Real images come from ``--data-root`` (MNIST, and CIFAR-10 as folders of images); everything else is
embedded in scikit-learn, read from Python's own standard library, or drawn from fixed seeds. The
quality of a prediction is free of the task's scale: 0 for the best constant prediction, 1 for a
perfect one.
"""

from __future__ import annotations

import math
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recent_prune.data import load_digits, load_image_folder, load_mnist

Kind = Literal["classes", "values", "bits"]
IGNORED = -100
"""Target of positions that do not count, PyTorch's default."""


@dataclass(frozen=True)
class Task:
    """A data set and what is asked of it.

    Attributes:
        name: Of the task.
        data: Of the data set it is made from.
        kind: ``"classes"`` (cross-entropy, over positions where there are any), ``"values"`` (mean
            square) or ``"bits"`` (binary cross-entropy).
        train: Inputs [n, …] and targets [n, …].
        test: Likewise.
        outputs: Numbers that the model gives for a sample, or for a position of one.
        families: Of networks that learn it, keys of ``families.FAMILIES``.
        vocabulary: Number of tokens, 0 where the inputs are numbers.
    """

    name: str
    data: str
    kind: Kind
    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    outputs: int
    families: tuple[str, ...]
    vocabulary: int = 0

    @property
    def loss(self) -> Callable[[Tensor, Tensor], Tensor]:
        """From outputs and targets to the mean loss, nats or squared units."""
        losses: dict[Kind, Callable[[Tensor, Tensor], Tensor]] = {
            "classes": _cross_entropy,
            "values": F.mse_loss,
            "bits": F.binary_cross_entropy_with_logits,
        }
        return losses[self.kind]

    def accuracy(self, output: Tensor, target: Tensor) -> float:
        """Share of right answers; for values the share of their variance that is explained."""
        if self.kind == "classes":
            counted = target != IGNORED
            return float((output.argmax(-1) == target)[counted].float().mean())
        if self.kind == "bits":
            return float(((output > 0) == (target > 0.5)).float().mean())
        return 1 - float(F.mse_loss(output, target)) / self.constant[0]

    @property
    def constant(self) -> tuple[float, float]:
        """Loss and accuracy of the best constant prediction on the test samples."""
        return _constant(self)


def _cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(output.flatten(0, -2), target.flatten(), ignore_index=IGNORED)


def _constant(task: Task) -> tuple[float, float]:
    target = task.test[1]
    if task.kind == "classes":
        shares = torch.bincount(target[target != IGNORED], minlength=task.outputs).double()
        shares = shares / shares.sum()
        return float(-torch.xlogy(shares, shares).sum()), float(shares.max())
    if task.kind == "bits":
        share = float(target.double().mean())
        entropy = -share * math.log(share) - (1 - share) * math.log(1 - share)
        return entropy, max(share, 1 - share)
    return float((target - target.mean(0)).double().square().mean()), 0.0


IMAGES = ("mlp", "deep mlp", "cnn", "residual cnn", "vit")
TABLES = ("mlp", "deep mlp", "residual mlp")
SEQUENCES = ("gru", "lstm", "transformer", "cnn1d")


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _classes(name: str, data: str, x: Tensor, y: Tensor, xt: Tensor, yt: Tensor) -> Task:
    outputs = int(y.max()) + 1
    families = IMAGES if x.dim() == 4 else TABLES
    return Task(name, data, "classes", (x, y), (xt, yt), outputs, families)


def _autoencoder(task: Task) -> Task:
    x, xt = task.train[0], task.test[0]
    return Task(
        f"{task.name} autoencoder",
        task.data,
        "values",
        (x, x.flatten(1)),
        (xt, xt.flatten(1)),
        x[0].numel(),
        ("autoencoder",),
    )


def mnist(root: Path) -> Task:
    """MNIST pooled to 14 × 14: 8,000 and 1,000 images in [0, 1]."""
    images = load_mnist(root).head(8000, 1000)
    pool = nn.AvgPool2d(2)
    x, xt = pool(images.train), pool(images.test)
    return _classes("mnist", "mnist", x, images.train_labels, xt, images.test_labels)


def digits(_: Path) -> Task:
    """The digits embedded in scikit-learn, 8 × 8."""
    d = load_digits()
    return _classes("digits", "digits", d.train, d.train_labels, d.test, d.test_labels)


def cifar10(root: Path, *, grey: bool) -> Task:
    """CIFAR-10 pooled to 16 × 16, standardized: 8,000 and 1,000 images."""
    images = load_image_folder(root / "cifar10", grey=grey).head(8000, 1000)
    pool = nn.AvgPool2d(2)
    x, xt = pool(images.train), pool(images.test)
    mean, deviation = x.mean((0, 2, 3), keepdim=True), x.std((0, 2, 3), keepdim=True)
    x, xt = (x - mean) / deviation, (xt - mean) / deviation
    name = "cifar10 grey" if grey else "cifar10 colour"
    return _classes(name, "cifar10", x, images.train_labels, xt, images.test_labels)


def _shapes(n: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Noisy images [n, 1, 16, 16] of one of six shapes, its class [n] and its mask [n, 256]."""
    g = _generator(seed)
    kind = torch.randint(6, (n,), generator=g)
    centre = 4 + 8 * torch.rand(n, 2, 1, 1, generator=g)
    radius = 2.5 + 2 * torch.rand(n, 1, 1, generator=g)
    axis = torch.arange(16.0)
    dy, dx = axis[None, :, None] - centre[:, 0], axis[None, None, :] - centre[:, 1]
    far, near = torch.maximum(dy.abs(), dx.abs()), torch.minimum(dy.abs(), dx.abs())
    distance = (dy.square() + dx.square()).sqrt()
    masks = torch.stack(
        [
            distance < radius,
            far < radius,
            (distance < radius) & (distance > radius - 1.5),
            (near < 1) & (far < radius),
            ((dy.abs() - dx.abs()).abs() < 1) & (far < radius),
            (dy.abs() + dx.abs()) < radius,
        ]
    )
    mask = masks[kind, torch.arange(n)].float()
    strength = 0.5 + torch.rand(n, 1, 1, generator=g)
    image = strength * mask + 0.3 * torch.randn(mask.shape, generator=g)
    return image[:, None], kind, mask.flatten(1)


def shapes(_: Path) -> Task:
    """Which of six shapes was drawn?"""
    (x, y, _m), (xt, yt, _t) = _shapes(5000, 1), _shapes(1000, 2)
    return _classes("shapes", "shapes", x, y, xt, yt)


def masks(_: Path) -> Task:
    """Where is the shape? A segmentation."""
    (x, _y, m), (xt, _z, mt) = _shapes(5000, 1), _shapes(1000, 2)
    return Task("masks", "shapes", "bits", (x, m), (xt, mt), 256, ("dense cnn", "autoencoder"))


def characters(_: Path) -> Task:
    """The next character of the standard library's own sources, at each of 24 positions."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    text = "".join(f.read_text(encoding="utf-8") for f in sorted(folder.glob("[a-h]*.py")))[
        :400_000
    ]
    common = sorted(sorted(set(text)), key=lambda c: -text.count(c))[:63]
    number = {c: i + 1 for i, c in enumerate(common)}
    tokens = torch.tensor([number.get(c, 0) for c in text])
    windows = tokens[: len(tokens) // 25 * 25].view(-1, 25)
    windows = windows[torch.randperm(len(windows), generator=_generator(3))]
    x, y = windows[:, :-1], windows[:, 1:]
    families = ("gru", "lstm", "causal transformer", "causal cnn1d")
    rest, test = slice(0, 14_000), slice(14_000, 14_600)
    parts = (x[rest], y[rest]), (x[test], y[test])
    return Task("characters", "characters", "classes", *parts, 64, families, 64)


def _copying(name: str, seed: int, *, ordered: bool) -> Task:
    def drawn(n: int, seed: int) -> tuple[Tensor, Tensor]:
        symbols = torch.randint(1, 11, (n, 7), generator=_generator(seed))
        asked = symbols.sort(dim=1).values if ordered else symbols
        x = torch.cat([symbols, torch.zeros_like(symbols)], dim=1)
        return x, torch.cat([torch.full_like(symbols, IGNORED), asked], dim=1)

    families = ("gru", "lstm", "transformer", "cnn1d")
    parts = drawn(8000, seed), drawn(600, seed + 1)
    return Task(name, name, "classes", *parts, 11, families, 11)


def copying(_: Path) -> Task:
    """Repeat seven symbols."""
    return _copying("copying", 10, ordered=False)


def sorting(_: Path) -> Task:
    """Sort seven symbols."""
    return _copying("sorting", 20, ordered=True)


def modular_addition(_: Path) -> Task:
    """A + b mod 23, all pairs: it is fitted, not generalized, and tested on pairs seen."""
    a, b = torch.cartesian_prod(torch.arange(23), torch.arange(23)).unbind(1)
    x, y = torch.stack([a, b + 23], dim=1), (a + b) % 23
    families = ("token mlp", "token transformer")
    return Task("modular addition", "modular", "classes", (x, y), (x, y), 23, families, 46)


def parity(_: Path) -> Task:
    """Whether an odd number of three of twelve bits is set."""

    def drawn(n: int, seed: int) -> tuple[Tensor, Tensor]:
        bits = torch.randint(2, (n, 12), generator=_generator(seed))
        return bits, bits[:, :3].sum(dim=1) % 2

    families = ("token mlp", "token transformer", "token gru")
    return Task("parity", "parity", "classes", drawn(6000, 30), drawn(1000, 31), 2, families, 2)


def _table(name: str, x: Tensor, y: Tensor) -> Task:
    order = torch.randperm(len(x), generator=_generator(4))
    x, y = x[order].float(), y[order]
    cut = len(x) * 3 // 4
    x = (x - x[:cut].mean(0)) / x[:cut].std(0).clamp_min(1e-6)
    if y.is_floating_point():
        y = ((y - y[:cut].mean()) / y[:cut].std()).float()[:, None]
        return Task(name, name, "values", (x[:cut], y[:cut]), (x[cut:], y[cut:]), 1, TABLES)
    return _classes(name, name, x[:cut], y[:cut], x[cut:], y[cut:])


def embedded(name: str) -> Task:
    """A table embedded in scikit-learn: ``breast_cancer``, ``wine`` or ``diabetes``."""
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")()
    return _table(name, torch.tensor(bunch.data), torch.tensor(bunch.target))


def teacher(name: str) -> Task:
    """What a random network of 20 inputs says: five classes, or a number with noise."""
    g = _generator(5)
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


def _waves(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Series [n, 25, 1] of five kinds, and their kind."""
    g = _generator(seed)
    kind = torch.randint(5, (n,), generator=g)
    frequency = 0.3 + 0.7 * torch.rand(n, 1, generator=g)
    phase = 2 * math.pi * torch.rand(n, 1, generator=g)
    angle = frequency * torch.arange(25.0) + phase
    forms = torch.stack(
        [
            angle.sin(),
            angle.sin().sign(),
            angle.remainder(2 * math.pi) / math.pi - 1,
            angle.sin() * (angle / 3).sin(),
            (angle + 2 * (angle / 2).sin()).sin(),
        ]
    )
    series = forms[kind, torch.arange(n)] + 0.1 * torch.randn(n, 25, generator=g)
    return series[..., None], kind


def wave_classes(_: Path) -> Task:
    """Of what kind is the series?"""
    (x, y), (xt, yt) = _waves(5000, 6), _waves(1000, 7)
    families = ("last gru", "last lstm", "last transformer", "mlp", "cnn1d classes")
    return Task("wave classes", "waves", "classes", (x, y), (xt, yt), 5, families)


def wave_values(_: Path) -> Task:
    """How does the series go on?"""
    (x, _y), (xt, _z) = _waves(5000, 6), _waves(1000, 7)
    families = ("last gru", "last lstm", "last transformer", "deep mlp")
    parts = (x[:, :-1], x[:, -1]), (xt[:, :-1], xt[:, -1])
    return Task("wave values", "waves", "values", *parts, 1, families)


def coordinates(_: Path) -> Task:
    """A picture as a function of the position."""

    def drawn(n: int, seed: int) -> tuple[Tensor, Tensor]:
        xy = 2 * torch.rand(n, 2, generator=_generator(seed)) - 1
        rings = torch.cos(9 * xy.norm(dim=1, keepdim=True))
        return xy, rings + (xy[:, :1] * xy[:, 1:] > 0).float()

    families = ("fourier mlp", "deep mlp")
    return Task("coordinates", "coordinates", "values", drawn(6000, 8), drawn(1000, 9), 1, families)


TASKS: dict[str, Callable[[Path], Task]] = {
    "mnist": mnist,
    "mnist autoencoder": lambda root: _autoencoder(mnist(root)),
    "digits": digits,
    "digits autoencoder": lambda root: _autoencoder(digits(root)),
    "cifar10 grey": lambda root: cifar10(root, grey=True),
    "cifar10 colour": lambda root: cifar10(root, grey=False),
    "shapes": shapes,
    "shapes autoencoder": lambda root: _autoencoder(shapes(root)),
    "masks": masks,
    "characters": characters,
    "copying": copying,
    "sorting": sorting,
    "modular addition": modular_addition,
    "parity": parity,
    "breast_cancer": lambda _: embedded("breast_cancer"),
    "wine": lambda _: embedded("wine"),
    "diabetes": lambda _: embedded("diabetes"),
    "teacher classes": lambda _: teacher("teacher classes"),
    "teacher values": lambda _: teacher("teacher values"),
    "friedman": friedman,
    "wave classes": wave_classes,
    "wave values": wave_values,
    "coordinates": coordinates,
}
"""By name: from the folder with the data sets to the task."""


@cache
def task(name: str, root: Path) -> Task:
    """A task, made once in a process."""
    made = TASKS[name](root)
    assert made.name == name
    return made
