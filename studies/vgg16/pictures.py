"""Images of one size in three channels, from a data set or any folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision import transforms
from torchvision.datasets.folder import IMG_EXTENSIONS, default_loader

from recent_prune.data import default_root
from studies.common.images import Data, load

LEAST = 16
"""Images that a probe needs."""


@dataclass(frozen=True)
class Pictures:
    """Images in [0, 1].

    Attributes:
        name: Of the data.
        fitted: Those that reconstructions are fitted on, [n, 3, size, size].
        shown: Others, to look at, [k, 3, size, size].
    """

    name: str
    fitted: Tensor
    shown: Tensor


def pictures(data: str, root: Path | None, size: int, fitted: int, shown: int) -> Pictures:
    """Load images.

    Args:
        data: A name of :class:`Data`, or a folder with images, however they are nested.
        root: Where data sets are, see :func:`studies.common.images.load`.
        size: Of an image, pixels; smaller ones are enlarged.
        fitted: How many to fit on, at most.
        shown: How many to look at.

    Raises:
        RuntimeError: If the images are not there, or too few.
    """
    known = [member.value for member in Data]
    if data in known and data != Data.CIFAR10:
        images = load(Data(data), root).head(fitted, shown)
        return Pictures(images.name, enlarged(images.train, size), enlarged(images.test, size))
    folder = (root or default_root()) / data if data in known else Path(data)
    if not folder.is_dir():
        raise RuntimeError(
            f"There is no folder {folder}: --data takes a folder of images, or one of "
            f"{', '.join(known)} (in the folder that --data-root names)."
        )
    drawn = from_folder(folder, size, fitted + shown)
    if len(drawn) < LEAST + shown:
        raise RuntimeError(
            f"{folder} has {len(drawn)} images, but at least {LEAST + shown} are needed."
        )
    return Pictures(folder.resolve().name, drawn[shown:], drawn[:shown])


def from_folder(folder: Path, size: int, count: int) -> Tensor:
    """So many images at most, from a fixed seed, cut to their centre, [n, 3, size, size]."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMG_EXTENSIONS)
    order = torch.randperm(len(paths), generator=torch.Generator().manual_seed(0))[:count]
    prepared = transforms.Compose(
        [transforms.Resize(size), transforms.CenterCrop(size), transforms.ToTensor()]
    )
    images = [prepared(default_loader(str(paths[i]))) for i in order.tolist()]
    return torch.stack(images) if images else torch.empty(0, 3, size, size)


def enlarged(images: Tensor, size: int) -> Tensor:
    """Grey images [n, 1, …] as [n, 3, size, size]."""
    resized = nn.functional.interpolate(images, (size, size), mode="bilinear", antialias=True)
    return resized.clamp(0, 1).expand(-1, 3, -1, -1)
