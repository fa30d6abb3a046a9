"""Images: read from a folder, embedded in scikit-learn, or drawn."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.prediction.trials.tasks.task import Task, classes, generator
from recent_prune.data import load_digits, load_image_folder, load_mnist


def autoencoder(task: Task) -> Task:
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
    return classes("mnist", "mnist", x, images.train_labels, xt, images.test_labels)


def digits(_: Path) -> Task:
    """The digits embedded in scikit-learn, 8 × 8."""
    d = load_digits()
    return classes("digits", "digits", d.train, d.train_labels, d.test, d.test_labels)


def cifar10(root: Path, *, grey: bool) -> Task:
    """CIFAR-10 pooled to 16 × 16, standardized: 8,000 and 1,000 images."""
    images = load_image_folder(root / "cifar10", grey=grey).head(8000, 1000)
    pool = nn.AvgPool2d(2)
    x, xt = pool(images.train), pool(images.test)
    mean, deviation = x.mean((0, 2, 3), keepdim=True), x.std((0, 2, 3), keepdim=True)
    x, xt = (x - mean) / deviation, (xt - mean) / deviation
    name = "cifar10 grey" if grey else "cifar10 colour"
    return classes(name, "cifar10", x, images.train_labels, xt, images.test_labels)


def _shapes(n: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Noisy images [n, 1, 16, 16] of one of six shapes, its class [n] and its mask [n, 256]."""
    g = generator(seed)
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
    return classes("shapes", "shapes", x, y, xt, yt)


def masks(_: Path) -> Task:
    """Where is the shape? A segmentation."""
    (x, _y, m), (xt, _z, mt) = _shapes(5000, 1), _shapes(1000, 2)
    return Task("masks", "shapes", "bits", (x, m), (xt, mt), 256, ("dense cnn", "autoencoder"))
