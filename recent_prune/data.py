"""Handwritten digits as tensors, for the demo, the studies and the benchmarks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

DATA_ROOT_VARIABLE = "RECENT_PRUNE_DATA"
"""Environment variable with the default folder of data sets, in torchvision's layout."""


@dataclass(frozen=True)
class Images:
    """Images in [0, 1] with their classes.

    Attributes:
        name: Of the data set.
        train: [n, …], float32.
        train_labels: [n], int64.
        test: [m, …], float32.
        test_labels: [m], int64.
    """

    name: str
    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor

    def head(self, train: int, test: int) -> Images:
        """The first ``train`` and ``test`` samples only."""
        return Images(
            self.name,
            self.train[:train],
            self.train_labels[:train],
            self.test[:test],
            self.test_labels[:test],
        )


def load_digits() -> Images:
    """The 1,797 digits that come with scikit-learn, [n, 1, 8, 8], every fifth for testing.

    Raises:
        ImportError: If scikit-learn is missing.
    """
    try:
        from sklearn.datasets import load_digits as load
    except ImportError as error:
        raise ImportError(
            "The embedded digits need scikit-learn: pip install scikit-learn."
        ) from error
    bunch = load()
    images = torch.as_tensor(bunch.images, dtype=torch.float32).unsqueeze(1) / 16
    labels = torch.as_tensor(bunch.target, dtype=torch.int64)
    test = torch.arange(len(images)) % 5 == 4
    return Images("digits", images[~test], labels[~test], images[test], labels[test])


def load_mnist(root: Path | None = None) -> Images:
    """MNIST, 60,000 + 10,000 images (28 × 28), downloaded if it is not there yet.

    Args:
        root: Folder that holds ``MNIST/raw``. Default: the environment variable
            ``RECENT_PRUNE_DATA``, else ``~/.cache/recent_prune``.

    Raises:
        ImportError: If torchvision is missing.
        RuntimeError: If the data are neither in ``root`` nor to be downloaded.
    """
    try:
        from torchvision.datasets import MNIST
    except ImportError as error:
        raise ImportError("MNIST needs torchvision: pip install torchvision.") from error
    folder = root or Path(
        os.environ.get(DATA_ROOT_VARIABLE) or Path.home() / ".cache" / "recent_prune"
    )
    try:
        train, test = (
            MNIST(folder, train=t, download=not _mnist_complete(folder)) for t in (True, False)
        )
    except (RuntimeError, OSError) as error:
        raise RuntimeError(
            f"MNIST is not in {folder} (torchvision's layout, MNIST/raw/…) and could not be "
            f"downloaded: {error}"
        ) from error
    return Images(
        "mnist",
        train.data.unsqueeze(1).float() / 255,
        train.targets,
        test.data.unsqueeze(1).float() / 255,
        test.targets,
    )


def _mnist_complete(folder: Path) -> bool:
    # torchvision's own check with download=True wants to write into a complete folder, which
    # fails where the folder is read-only.
    kinds = ("images-idx3", "labels-idx1")
    return all(
        (folder / "MNIST" / "raw" / f"{part}-{kind}-ubyte").exists()
        for part in ("train", "t10k")
        for kind in kinds
    )
