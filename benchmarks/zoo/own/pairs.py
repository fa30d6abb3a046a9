# ruff: noqa: D102 - what `forward` does is said of its class
# mypy: disable-error-code="no-any-return,index,operator,arg-type"
"""Own models of one image, of pairs and triplets, and of several outputs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.zoo.data import BATCH, cut, generator, images, pictures
from benchmarks.zoo.own.building import mlp, own, small_cnn
from benchmarks.zoo.specification import sgd


class Siamese(nn.Module):
    """One encoder for two images."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = small_cnn(32)

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return self.encoder(a), self.encoder(b)


def contrastive(output: tuple[Tensor, Tensor], same: Tensor) -> Tensor:
    """Hadsell's: near if the same, farther than 1 if not."""
    distance = F.pairwise_distance(*output)
    return (same * distance**2 + (1 - same) * F.relu(1 - distance) ** 2).mean()


def twins(labels: Tensor) -> Tensor:
    """Of each sample the number of one of the same class, [n]."""
    members = [(labels == kind).nonzero()[:, 0] for kind in range(10)]
    return torch.stack([members[k][i % len(members[k])] for i, k in enumerate(labels.tolist())])


def pairs(seed: int, *, nested: bool = False) -> list[Any]:
    """(image, image, whether both are of one class), or ((image, image), the same)."""
    found, labels = pictures(seed)
    draw = generator(seed + 20)
    other = torch.randperm(len(found), generator=draw)
    half = torch.arange(len(found)) % 2 == 0
    twin = twins(labels)
    other = torch.where(half, twin, other)
    same = (labels == labels[other]).float()
    rows = cut(found, found[other], same)
    return [((a, b), y) for a, b, y in rows] if nested else rows


class Triplet(nn.Module):
    """Anchor, positive and negative, and no label."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = small_cnn(32)

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        parts = [self.encoder(x) for x in (anchor, positive, negative)]
        return F.triplet_margin_loss(*parts)


def triplets(seed: int) -> list[Any]:
    found, labels = pictures(seed)
    twin = twins(labels)
    far = torch.randperm(len(found), generator=generator(seed))
    return cut(found, found[twin], found[far])


class ClipPair(nn.Module):
    """Two encoders, whose outputs of one pair are to be alike."""

    def __init__(self) -> None:
        super().__init__()
        self.image, self.text = small_cnn(32), nn.EmbeddingBag(60, 32, padding_idx=0)
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        a, b = F.normalize(self.image(image), dim=1), F.normalize(self.text(text), dim=1)
        return self.scale.exp() * a @ b.t()


def clip_loss(logits: Tensor, _: Any) -> Tensor:
    place = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, place) + F.cross_entropy(logits.t(), place)) / 2


def captioned(seed: int) -> list[Any]:
    """(image, six words that go with its class, number in the batch)."""
    found, labels = pictures(seed)
    words = (
        4 + 5 * labels[:, None] + torch.randint(0, 5, (len(found), 6), generator=generator(seed))
    )
    return cut(found, words, torch.arange(len(found)) % BATCH)


class MultiTask(nn.Module):
    """Two heads, a list of outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.a, self.b = small_cnn(64), nn.Linear(64, 10), nn.Linear(64, 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        hidden = F.relu(self.trunk(x))
        return [self.a(hidden), self.b(hidden)[:, 0]]


def two_targets(seed: int) -> list[Any]:
    """(images, (classes, brightness))."""
    return [(x, (y, x.mean((1, 2, 3)))) for x, y in images(seed)]


class OwnLosses(nn.Module):
    """Gives a mapping of losses in training mode and predictions in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.net = small_cnn()

    def forward(self, x: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        logits = self.net(x)
        if labels is None:
            return {"logits": logits}
        loss = F.cross_entropy(logits, labels)
        return {"loss": loss + 1e-4 * logits.square().mean(), "logits": logits}


def named_images(seed: int) -> list[Any]:
    return [{"x": x, "labels": y} for x, y in images(seed)]


ENTRIES = [
    own(
        "MLP of images, SGD",
        "MLP",
        lambda: nn.Sequential(nn.Flatten(), mlp(3072, 128, 128, 10)),
        images,
        F.cross_entropy,
        sgd(0.05),
    ),
    own("small CNN", "convolutional", small_cnn, images, F.cross_entropy, sgd(0.1)),
    own(
        "small CNN, label smoothing",
        "convolutional",
        small_cnn,
        images,
        nn.CrossEntropyLoss(label_smoothing=0.1),
    ),
    own("Siamese, (a, b, y)", "pairs", Siamese, pairs, contrastive),
    own("Siamese, ((a, b), y)", "pairs", Siamese, lambda s: pairs(s, nested=True), contrastive),
    own("triplets without labels", "pairs", Triplet, triplets, None),
    own("CLIP-like pair", "pairs", ClipPair, captioned, clip_loss),
    own(
        "two heads, two targets",
        "multi-output",
        MultiTask,
        two_targets,
        lambda o, y: F.cross_entropy(o[0], y[0]) + F.mse_loss(o[1], y[1]),
    ),
    own("mapping of losses", "multi-output", OwnLosses, named_images, None),
]
