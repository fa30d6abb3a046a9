"""What the architectures are fed: real images where there are some, else structured samples.

Every function takes a seed: 0 for the batches that train and are probed, 1 for fresh ones.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from recent_prune.data import load_digits

BATCH = 32
MOST = {0: 48, 1: 8}
"""Batches of either kind: those that train, and fresh ones."""

CIFAR = Path.home() / ".cache/recent_prune/prediction/cifar10"
"""Where ``benchmarks.prediction.trials`` unpacks it, as folders of images."""

WORDS = 60
"""Tokens of the made-up language: 0 pads, 1 begins, 2 ends, 3 is a mask."""


def generator(seed: int) -> torch.Generator:
    """A seeded one."""
    return torch.Generator().manual_seed(seed)


@lru_cache
def _pictures() -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """CIFAR-10 where it lies in the cache, else digits in three channels; [n, 3, s, s] and [n]."""
    if not CIFAR.exists():
        digits = load_digits()
        images = {0: digits.train, 1: digits.test}
        upscaled = {k: F.interpolate(v, size=32, mode="bilinear") for k, v in images.items()}
        labels = {0: digits.train_labels, 1: digits.test_labels}
        return {k: v.expand(-1, 3, -1, -1) for k, v in upscaled.items()}, labels
    from torchvision.datasets import ImageFolder
    from torchvision.transforms.functional import pil_to_tensor

    found: dict[int, Tensor] = {}
    classes: dict[int, Tensor] = {}
    for seed, part in enumerate(("train", "test")):
        folder = ImageFolder(str(CIFAR / part))
        chosen = torch.randperm(len(folder), generator=generator(0))[: BATCH * MOST[seed]]
        pairs = [folder[int(i)] for i in chosen]
        found[seed] = torch.stack([pil_to_tensor(image) for image, _ in pairs]).float() / 255
        classes[seed] = torch.tensor([label for _, label in pairs])
    return found, classes


def pictures(seed: int, size: int = 32, *, grey: bool = False) -> tuple[Tensor, Tensor]:
    """All images, standardized, [n, 3 or 1, size, size], and their classes, [n]."""
    images, labels = (part[seed] for part in _pictures())
    if grey:
        images = images.mean(dim=1, keepdim=True)
    if size != images.shape[-1]:
        images = F.interpolate(images, size=(size, size), mode="bilinear", antialias=True)
    return (images - 0.47) / 0.25, labels


def cut(*tensors: Tensor, size: int = BATCH) -> list[Any]:
    """Batches of tensors that lie side by side; no smaller one at the end."""
    count = len(tensors[0]) // size
    parts = [tensor[: count * size].split(size) for tensor in tensors]
    return list(parts[0]) if len(tensors) == 1 else list(zip(*parts, strict=True))


def images(seed: int, size: int = 32, *, grey: bool = False, batch: int = BATCH) -> list[Any]:
    """(images, classes) as a data loader of an image folder yields them."""
    return cut(*pictures(seed, size, grey=grey), size=batch)


def alone(seed: int, size: int = 32, *, grey: bool = False) -> list[Any]:
    """(images, the same images), as an autoencoder is trained."""
    found, _ = pictures(seed, size, grey=grey)
    return cut(found, found)


def _transitions() -> Tensor:
    """Of each word the four that may follow, which makes a language to learn."""
    return torch.randint(4, WORDS, (WORDS, 4), generator=generator(7))


def sentences(seed: int, count: int, least: int = 8, most: int = 20) -> list[Tensor]:
    """Walks through a graph of words, each of a length of its own, begun by 1 and ended by 2."""
    draw = generator(seed)
    follow = _transitions()
    found = []
    for _ in range(count):
        length = int(torch.randint(least, most + 1, (), generator=draw))
        words = [int(torch.randint(4, WORDS, (), generator=draw))]
        choices = torch.randint(0, 4, (length,), generator=draw).tolist()
        for choice in choices:
            words.append(int(follow[words[-1], choice]))
        found.append(torch.tensor([1, *words, 2]))
    return found


def padded(rows: list[Tensor], value: int = 0) -> Tensor:
    """To the longest of them, [n, t]."""
    return pad_sequence(rows, batch_first=True, padding_value=value)


def texts(seed: int, kind: str = "classes", length: int | None = None) -> list[Any]:
    """Mappings as a tokenizer with a collator yields them, padded batch by batch.

    Args:
        seed: See above.
        kind: ``"classes"`` (four topics, each with favourite words), ``"language"`` (labels are
            the tokens), ``"masked"``, ``"tokens"`` (of each word whether it is even) or
            ``"translation"`` (each word to another one).
        length: Of all rows; by default each batch is padded to its own.
    """
    draw = generator(seed + 100)
    batches = []
    for number in range(MOST[seed]):
        rows = sentences(1000 * seed + number, BATCH)
        topics = torch.randint(0, 4, (BATCH,), generator=draw)
        if kind == "classes":
            rows = [_about(row, int(topic), draw) for row, topic in zip(rows, topics, strict=True)]
        ids = padded(rows)
        if length is not None:
            ids = F.pad(ids, (0, length - ids.shape[1]))
        mask = (ids > 0).long()
        batch = {"input_ids": ids, "attention_mask": mask}
        if kind == "classes":
            batch["labels"] = topics
        elif kind == "language":
            batch["labels"] = ids.masked_fill(mask == 0, -100)
        elif kind == "tokens":
            batch["labels"] = (ids % 2).masked_fill(mask == 0, -100)
        elif kind == "masked":
            hidden = (torch.rand(ids.shape, generator=draw) < 0.2) & (ids > 3)
            batch["labels"] = ids.masked_fill(~hidden, -100)
            batch["input_ids"] = ids.masked_fill(hidden, 3)
        else:
            other = torch.where(ids > 3, 4 + (ids * 7) % (WORDS - 4), ids)
            batch["labels"] = other.masked_fill(mask == 0, -100)
        batches.append(batch)
    return batches


def _about(row: Tensor, topic: int, draw: torch.Generator) -> Tensor:
    """A third of the words replaced by favourites of the topic."""
    favourite = torch.randint(4 + 14 * topic, 18 + 14 * topic, row.shape, generator=draw)
    inner = (row > 3) & (torch.rand(row.shape, generator=draw) < 0.35)
    return torch.where(inner, favourite, row)


def waves(seed: int, length: int, channels: int = 1) -> tuple[Tensor, Tensor]:
    """Four kinds of tones with overtones and some noise, [n, length, channels], and kinds, [n]."""
    draw = generator(seed + 200)
    count = BATCH * MOST[seed]
    kinds = torch.randint(0, 4, (count,), generator=draw)
    time = torch.linspace(0, 1, length)
    base = (3 + 4 * kinds.float())[:, None] * (1 + 0.1 * torch.rand(count, 1, generator=draw))
    phase = 6.3 * torch.rand(count, 1, channels, generator=draw)
    angle = 6.283 * base[:, :, None] * time[None, :, None]
    wave = torch.sin(angle + phase) + 0.5 * torch.sin(2 * angle + phase)
    return wave + 0.1 * torch.randn(count, length, channels, generator=draw), kinds


def series(seed: int, length: int, channels: int = 3) -> Tensor:
    """Sums of two seasons and a trend, [n, length, channels]."""
    draw = generator(seed + 300)
    count = BATCH * MOST[seed]
    time = torch.arange(length, dtype=torch.float32)[None, :, None]
    found = torch.zeros(count, length, channels)
    for period in (8.0, 17.0):
        size, phase = torch.rand(2, count, 1, channels, generator=draw)
        found += size * torch.sin(6.283 * (time / period + phase))
    trend = torch.randn(count, 1, channels, generator=draw)
    noise = 0.05 * torch.randn(found.shape, generator=draw)
    return found + 0.02 * trend * time + noise


def tones(seed: int) -> list[Any]:
    """(tones [n, 40, 1], kinds)."""
    return cut(*waves(seed, 40))


def forecast(seed: int) -> list[Any]:
    """(32 values of a series, the 8 that follow)."""
    found = series(seed, 40, 1)[..., 0]
    return cut(found[:, :32], found[:, 32:])


def table(seed: int, numbers: int = 12) -> tuple[Tensor, Tensor, Tensor]:
    """Correlated columns [n, numbers], categories [n, 4] of 10 values, and what follows, [n]."""
    draw = generator(seed + 400)
    count = BATCH * MOST[seed]
    mixing = torch.randn(5, numbers, generator=generator(9))
    effect = torch.randn(4, 10, generator=generator(10))
    hidden = torch.randn(count, 5, generator=draw)
    columns = (hidden @ mixing + 0.3 * torch.randn(count, numbers, generator=draw)) / 2.3
    categories = torch.randint(0, 10, (count, 4), generator=draw)
    effects = effect[torch.arange(4), categories].sum(dim=1)
    return columns, categories, hidden[:, 0] * hidden[:, 1] + effects + hidden[:, 2]


def ratings(seed: int, users: int = 100, items: int = 60) -> list[Any]:
    """(pairs of integers [n, 2], ratings [n]) that follow from two numbers of each."""
    draw = generator(seed + 500)
    of_user = torch.randn(users, 2, generator=generator(11))
    of_item = torch.randn(items, 2, generator=generator(12))
    count = BATCH * MOST[seed]
    user = torch.randint(0, users, (count,), generator=draw)
    item = torch.randint(0, items, (count,), generator=draw)
    rating = (of_user[user] * of_item[item]).sum(dim=1)
    return cut(torch.stack([user, item], dim=1), rating)
