"""Own small models of images, tables and pairs, as tutorials write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.zoo.data import BATCH, cut, generator, images, pictures, ratings, table
from benchmarks.zoo.specification import Batches, Entry, OptimizerFactory, adam, sgd, training


def own(
    name: str,
    family: str,
    build: Callable[[], nn.Module],
    batches: Batches,
    loss: Any,
    optimizer: OptimizerFactory | None = None,
    *,
    call: Any = None,
    confirm: bool = True,
) -> Entry:
    """An entry of an own model, with Adam 1e-3 if nothing else is said."""
    trial = training(loss, optimizer or adam(), call)
    return Entry(f"own {name}", "own", family, build, batches, trial, confirm=confirm)


def small_cnn(outputs: int = 10, channels: int = 3, width: int = 16) -> nn.Sequential:
    """Three convolutions with batch normalization."""
    layers: list[nn.Module] = []
    for a, b in ((channels, width), (width, 2 * width), (2 * width, 2 * width)):
        layers += [nn.Conv2d(a, b, 3, 2, 1), nn.BatchNorm2d(b), nn.ReLU()]
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * width, outputs)
    )


def mlp(*widths: int, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers of these widths."""
    layers: list[nn.Module] = []
    for a, b in zip(widths, widths[1:], strict=False):
        layers += [nn.Linear(a, b), activation()]
    return nn.Sequential(*layers[:-1])


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


def pairs(seed: int, *, nested: bool = False) -> list[Any]:
    """(image, image, whether both are of one class), or ((image, image), the same)."""
    found, labels = pictures(seed)
    draw = generator(seed + 20)
    other = torch.randperm(len(found), generator=draw)
    half = torch.arange(len(found)) % 2 == 0
    twin = torch.stack([(labels == k).nonzero()[i % 20, 0] for i, k in enumerate(labels.tolist())])
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
    twin = torch.stack([(labels == k).nonzero()[i % 20, 0] for i, k in enumerate(labels.tolist())])
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
    words = 4 + 5 * labels[:, None] + torch.randint(0, 5, (len(found), 6), generator=generator(seed))
    return cut(found, words, torch.arange(len(found)) % BATCH)


class Tabular(nn.Module):
    """Numbers, and an embedding of each category."""

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(10, 6) for _ in range(4))
        self.norm = nn.BatchNorm1d(12)
        self.mlp = mlp(12 + 24, 64, 64, 1)

    def forward(self, x_num: Tensor, x_cat: Tensor) -> Tensor:
        parts = [e(x_cat[:, i]) for i, e in enumerate(self.embeddings)]
        return self.mlp(torch.cat([self.norm(x_num), *parts], dim=1)).squeeze(1)


class FTTransformer(nn.Module):
    """Each column is a token."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(12, 32) / 6), nn.Parameter(torch.zeros(12, 32))
        self.embedding = nn.Embedding(40, 32)
        self.first = nn.Parameter(torch.zeros(1, 1, 32))
        layer = nn.TransformerEncoderLayer(32, 4, 64, 0.1, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 1)

    def forward(self, x_num: Tensor, x_cat: Tensor) -> Tensor:
        numbers = x_num[..., None] * self.weight + self.bias
        categories = self.embedding(x_cat + 10 * torch.arange(4, device=x_cat.device))
        first = self.first.expand(len(x_num), -1, -1)
        return self.head(self.encoder(torch.cat([first, numbers, categories], 1))[:, 0])[:, 0]


class DeepFM(nn.Module):
    """Called with the whole batch as a mapping, as recommenders' libraries do."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Embedding(40, 1), nn.Embedding(40, 8)
        self.numbers, self.deep = nn.Linear(12, 8), mlp(40, 64, 1)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        ids = batch["categories"] + 10 * torch.arange(4, device=batch["categories"].device)
        factors = torch.cat([self.second(ids), self.numbers(batch["numbers"])[:, None]], dim=1)
        pairs_ = 0.5 * (factors.sum(1) ** 2 - (factors**2).sum(1)).sum(1)
        out = self.first(ids).sum((1, 2)) + pairs_ + self.deep(factors.flatten(1))[:, 0]
        return {"prediction": out, "loss": F.mse_loss(out, batch["target"])}


def mapped_table(seed: int) -> list[Any]:
    rows = cut(*table(seed))
    return [{"numbers": x, "categories": c, "target": y} for x, c, y in rows]


def joint_table(seed: int) -> list[Any]:
    """Numbers alone and what follows, [n, 12] and [n, 1]."""
    numbers, _, y = table(seed)
    return cut(numbers, y[:, None])


class Factorization(nn.Module):
    """Of integer pairs [n, 2]; two embeddings and their inner product."""

    def __init__(self, size: int = 8) -> None:
        super().__init__()
        self.user, self.item = nn.Embedding(100, size), nn.Embedding(60, size)

    def forward(self, pair: Tensor) -> Tensor:
        return (self.user(pair[:, 0]) * self.item(pair[:, 1])).sum(1)


class NeuralFiltering(nn.Module):
    """Called with two integers, ``model(user, item)``."""

    def __init__(self) -> None:
        super().__init__()
        self.user, self.item, self.mlp = nn.Embedding(100, 8), nn.Embedding(60, 8), mlp(16, 64, 1)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return self.mlp(torch.cat([self.user(user), self.item(item)], dim=1))[:, 0]


def split_ratings(seed: int) -> list[Any]:
    return [(pair[:, 0], pair[:, 1], y) for pair, y in ratings(seed)]


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


class Highway(nn.Module):
    """Gates between a layer and its input."""

    def __init__(self, depth: int = 10) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(12, 32), nn.Linear(32, 1)
        self.layers = nn.ModuleList(nn.Linear(32, 64) for _ in range(depth))
        for layer in self.layers:
            nn.init.constant_(layer.bias[32:], -1.0)  # type: ignore[index]

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for layer in self.layers:
            new, gate = layer(x).chunk(2, dim=1)
            x = x + gate.sigmoid() * (torch.tanh(new) - x)
        return self.head(x)


class RadialBasis(nn.Module):
    """Gaussians around centres."""

    def __init__(self) -> None:
        super().__init__()
        self.centres, self.head = nn.Parameter(torch.randn(64, 12)), nn.Linear(64, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.exp(-torch.cdist(x, self.centres) ** 2 / 24))


class MixtureDensity(nn.Module):
    """Gives the parameters of a mixture of Gaussians, as a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = mlp(12, 64, 64)
        self.weight, self.mean, self.scale = (nn.Linear(64, 3) for _ in range(3))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hidden = F.relu(self.trunk(x))
        return self.weight(hidden), self.mean(hidden), F.softplus(self.scale(hidden)) + 0.05


def mixture_loss(output: tuple[Tensor, Tensor, Tensor], y: Tensor) -> Tensor:
    weight, mean, scale = output
    inner = torch.distributions.Normal(mean, scale).log_prob(y)
    return -torch.logsumexp(weight.log_softmax(1) + inner, dim=1).mean()


ENTRIES = [
    own("MLP of digits' columns", "MLP", lambda: mlp(12, 64, 64, 1), joint_table, F.mse_loss),
    own("MLP of images, SGD", "MLP", lambda: nn.Sequential(nn.Flatten(), mlp(3072, 128, 128, 10)),
        images, F.cross_entropy, sgd(0.05)),
    own("small CNN", "convolutional", small_cnn, images, F.cross_entropy, sgd(0.1)),
    own("small CNN, label smoothing", "convolutional", small_cnn, images,
        nn.CrossEntropyLoss(label_smoothing=0.1)),
    own("Siamese, (a, b, y)", "pairs", Siamese, pairs, contrastive),
    own("Siamese, ((a, b), y)", "pairs", Siamese, lambda s: pairs(s, nested=True), contrastive),
    own("triplets without labels", "pairs", Triplet, triplets, None),
    own("CLIP-like pair", "pairs", ClipPair, captioned, clip_loss),
    own("tabular, numbers and categories", "tabular", Tabular, lambda s: cut(*table(s)), F.mse_loss),
    own("FT-Transformer", "tabular", FTTransformer, lambda s: cut(*table(s)), F.mse_loss),
    own("DeepFM, forward(batch)", "tabular", DeepFM, mapped_table, None),
    own("matrix factorization of integer pairs", "recommender", Factorization, ratings, F.mse_loss,
        adam(1e-2)),
    own("neural collaborative filtering", "recommender", NeuralFiltering, split_ratings, F.mse_loss,
        adam(3e-3)),
    own("two heads, two targets", "multi-output", MultiTask, two_targets,
        lambda o, y: F.cross_entropy(o[0], y[0]) + F.mse_loss(o[1], y[1])),
    own("mapping of losses", "multi-output", OwnLosses, named_images, None),
    own("highway network", "MLP", Highway, joint_table, F.mse_loss),
    own("radial basis functions", "MLP", RadialBasis, joint_table, F.mse_loss, adam(1e-2)),
    own("mixture density network", "MLP", MixtureDensity, joint_table, mixture_loss),
]
