"""Images as tensors, for the demo, the studies and the benchmarks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

DATA_ROOT_VARIABLE = "RECENT_PRUNE_DATA"
"""Environment variable with the default folder of data sets, in torchvision's layout."""

AnyPath = str | os.PathLike[str]
"""A path as people have them; ``~`` is the home folder."""


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


def load_mnist(root: AnyPath | None = None) -> Images:
    """MNIST, 60,000 + 10,000 images (28 × 28), downloaded if it is not there yet.

    Args:
        root: Folder that holds ``MNIST/raw``. Default: the environment variable
            ``RECENT_PRUNE_DATA``, else ``~/.cache/recent_prune``.

    Raises:
        ImportError: If torchvision is missing.
        RuntimeError: If the data are neither in ``root`` nor to be downloaded.
    """
    return _load_idx("MNIST", "mnist", root)


def load_fashion_mnist(root: AnyPath | None = None) -> Images:
    """FashionMNIST, 60,000 + 10,000 images (28 × 28), or as many as are in ``root``.

    Args:
        root: Folder that holds ``FashionMNIST/raw``, as in :func:`load_mnist`.

    Raises:
        ImportError: As :func:`load_mnist`.
        RuntimeError: As :func:`load_mnist`.
    """
    return _load_idx("FashionMNIST", "fashion_mnist", root)


def load_image_folder(folder: AnyPath, *, grey: bool = False) -> Images:
    """Images of equal size in ``train/CLASS/…`` and ``test/CLASS/…``, in a seeded random order.

    Args:
        folder: That holds both; its name becomes that of the data set.
        grey: One channel instead of three.

    Raises:
        ImportError: If torchvision is missing.
        RuntimeError: If the images are not there.
    """
    datasets = _torchvision()
    from torchvision.transforms.functional import pil_to_tensor

    parts, root = [], Path(folder).expanduser()
    for part in ("train", "test"):
        try:
            found = datasets.ImageFolder(str(root / part))
        except FileNotFoundError as error:
            raise RuntimeError(
                f"No images in {root / part} (a folder for each class): {error}"
            ) from error
        images = [pil_to_tensor(image.convert("L" if grey else "RGB")) for image, _ in found]
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
        parts += [torch.stack(images)[order].float() / 255, torch.tensor(found.targets)[order]]
    return Images(root.name, *parts)


def white_noise(shape: tuple[int, ...], train: int, test: int) -> Images:
    """Independent uniform noise in [0, 1] from a fixed seed, with random labels of ten classes.

    Args:
        shape: Of an image.
        train: Number of samples.
        test: Likewise.
    """
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(train + test, *shape, generator=generator)
    labels = torch.randint(10, (train + test,), generator=generator)
    return Images("white noise", images[:train], labels[:train], images[train:], labels[train:])


def default_root() -> Path:
    """``RECENT_PRUNE_DATA``, or ``~/.cache/recent_prune``."""
    named = os.environ.get(DATA_ROOT_VARIABLE)
    return Path(named).expanduser() if named else Path.home() / ".cache" / "recent_prune"


def _load_idx(dataset: str, name: str, root: AnyPath | None) -> Images:
    load: Any = getattr(_torchvision(), dataset)
    folder = default_root() if root is None else Path(root).expanduser()
    try:
        # torchvision's own check with download=True wants to write into a complete folder, which
        # fails where the folder is read-only.
        download = not _is_complete(folder / dataset / "raw")
        train, test = (load(folder, train=part, download=download) for part in (True, False))
    except (RuntimeError, OSError) as error:
        raise RuntimeError(
            f"{dataset} is not in {folder} (torchvision's layout, {dataset}/raw/…) and could not "
            f"be downloaded: {error}"
        ) from error
    return Images(
        name,
        train.data.unsqueeze(1).float() / 255,
        train.targets,
        test.data.unsqueeze(1).float() / 255,
        test.targets,
    )


def _torchvision() -> Any:
    try:
        import torchvision.datasets as datasets
    except ImportError as error:
        raise ImportError("Images need torchvision: pip install torchvision.") from error
    return datasets


def _is_complete(folder: Path) -> bool:
    kinds = ("images-idx3", "labels-idx1")
    return all(
        (folder / f"{part}-{kind}-ubyte").exists() for part in ("train", "t10k") for kind in kinds
    )
