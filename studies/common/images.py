"""The data sets of the studies."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path

import torch

from recent_prune.data import (
    Images,
    default_root,
    load_digits,
    load_fashion_mnist,
    load_image_folder,
    load_mnist,
    white_noise,
)


class Data(StrEnum):
    """What a study can look at."""

    DIGITS = "digits"
    MNIST = "mnist"
    FASHION_MNIST = "fashion_mnist"
    CIFAR10 = "cifar10"
    WHITE_NOISE = "white_noise"


def load(data: Data, root: Path | None = None, *, grey: bool = True) -> Images:
    """A data set.

    Args:
        data: Digits come with scikit-learn; white noise, of MNIST's size, from a generator.
        root: Where the others are, see :func:`recent_prune.data.load_mnist`; CIFAR-10 as images in
            ``cifar10/train/CLASS`` and ``cifar10/test/CLASS``.
        grey: CIFAR-10 in one channel, as in the paper.
    """
    if data is Data.MNIST:
        return load_mnist(root)
    if data is Data.FASHION_MNIST:
        return load_fashion_mnist(root)
    if data is Data.CIFAR10:
        return load_image_folder((root or default_root()) / "cifar10", grey=grey)
    return load_digits() if data is Data.DIGITS else white_noise((1, 28, 28), 60_000, 10_000)


def pooled(images: Images, size: int) -> Images:
    """Averaged over squares of a size; 1 leaves them as they are."""

    def small(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(x, size)

    return replace(images, train=small(images.train), test=small(images.test))
