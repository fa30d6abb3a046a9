"""What a command line names as data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recent_prune.cli.factory import FORM, named
from recent_prune.data import load_digits, load_fashion_mnist, load_image_folder, load_mnist
from recent_prune.probe.batches.inputs import LABEL_NAMES, Inputs


def inputs(text: str, root: Path | None, *, labels: bool = False) -> Inputs:
    """Samples to probe with: a data set, a folder of images, a file, or what a function gives.

    Args:
        text: ``digits``, ``mnist``, ``fashion_mnist``, a folder with ``train/CLASS`` and
            ``test/CLASS``, a ``.npy``, ``.npz`` or ``.pt`` file, or ``module:function``.
        root: Of MNIST and FashionMNIST.
        labels: Whether labels are wanted, so that tensors come as (inputs, labels).

    Raises:
        ValueError: If it is none of these.
    """
    if root is not None and not root.is_dir():
        raise ValueError(f"--data-root: there is no folder {root}")
    path = Path(text)
    if text == "digits":
        images = load_digits()
    elif text in ("mnist", "fashion_mnist"):
        images = (load_mnist if text == "mnist" else load_fashion_mnist)(root)
    elif path.is_dir():
        images = load_image_folder(path)
    elif path.suffix in (".npy", ".npz", ".pt"):
        return _of_file(path, labels)
    elif ":" in text:
        given: Inputs = named(text, "--data")()
        return given
    else:
        raise ValueError(
            "--data must be digits, mnist, fashion_mnist, a folder of images, a .npy, .npz or .pt "
            f"file, or {FORM}, but got {text}"
        )
    return (images.train, images.train_labels) if labels else images.train


def _of_file(path: Path, labels: bool) -> Inputs:
    if not path.is_file():
        raise ValueError(f"--data: there is no file {path}")
    is_torch = path.suffix == ".pt"
    try:
        loaded: Any = torch.load(path, weights_only=True) if is_torch else np.load(path)
        # An .npz too, whose arrays are read here.
        loaded = dict(loaded) if isinstance(loaded, Mapping) else loaded
    except Exception as error:  # whatever NumPy, PyTorch and what they use raise
        kind = "weights and tensors of PyTorch" if is_torch else "arrays of NumPy"
        raise ValueError(f"--data: {path} must hold {kind}, but cannot be read") from error
    if isinstance(loaded, (Tensor, np.ndarray)):
        return loaded
    if isinstance(loaded, dict):
        # Labels by their name, or the second.
        named = loaded
        last = [name for name in LABEL_NAMES if name in named]
        loaded = [named[name] for name in named if name not in last]
        loaded += [named[name] for name in last]
    if not _are_two(loaded):
        parts = loaded if isinstance(loaded, (list, tuple)) else [loaded]
        held = [str(getattr(part, "shape", type(part).__name__)) for part in parts]
        raise ValueError(
            f"--data: {path} must hold a tensor, or inputs and labels of one length, but holds "
            f"{', '.join(held) or 'nothing'}"
        )
    x, y = map(_plain, loaded)
    return (x, y) if labels else x


def _are_two(loaded: Any) -> bool:
    """Whether these are two tensors or arrays of one length."""
    return (
        isinstance(loaded, (list, tuple))
        and len(loaded) == 2
        and all(isinstance(part, (Tensor, np.ndarray)) and part.ndim > 0 for part in loaded)
        and len(loaded[0]) == len(loaded[1])
    )


def _plain(array: Any) -> Tensor:
    """With floats of PyTorch's default type, and whole labels as its losses want them."""
    tensor = torch.as_tensor(array)
    if tensor.is_floating_point():
        return tensor.to(torch.get_default_dtype())
    return tensor.long() if tensor.dim() == 1 else tensor
