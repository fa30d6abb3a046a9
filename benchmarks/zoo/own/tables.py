# ruff: noqa: D102 - what `forward` does is said of its class
# mypy: disable-error-code="no-any-return,index,operator,arg-type"
"""Own models of tables and of ratings."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.zoo.data import cut, ratings, table
from benchmarks.zoo.own.building import mlp, own
from benchmarks.zoo.specification import adam


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
        self.weight, self.bias = (
            nn.Parameter(torch.randn(12, 32) / 6),
            nn.Parameter(torch.zeros(12, 32)),
        )
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

    def __init__(self, size: int = 4, scale: float = 1.0) -> None:
        super().__init__()
        self.user, self.item = nn.Embedding(100, size), nn.Embedding(60, size)
        for embedding in (self.user, self.item):
            nn.init.normal_(embedding.weight, std=scale)

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


class Highway(nn.Module):
    """Gates between a layer and its input."""

    def __init__(self, depth: int = 10) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(12, 32), nn.Linear(32, 1)
        self.layers = nn.ModuleList(nn.Linear(32, 64) for _ in range(depth))
        for layer in self.layers:
            nn.init.constant_(layer.bias[32:], -1.0)

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
        return self.head(torch.exp(-(torch.cdist(x, self.centres) ** 2) / 24))


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
    own("MLP of a table", "MLP", lambda: mlp(12, 64, 64, 1), joint_table, F.mse_loss),
    own(
        "tabular, numbers and categories", "tabular", Tabular, lambda s: cut(*table(s)), F.mse_loss
    ),
    own("FT-Transformer", "tabular", FTTransformer, lambda s: cut(*table(s)), F.mse_loss),
    own("DeepFM, forward(batch)", "tabular", DeepFM, mapped_table, None),
    own(
        "matrix factorization of integer pairs",
        "recommender",
        Factorization,
        ratings,
        F.mse_loss,
        adam(1e-2),
    ),
    own(
        "matrix factorization, small start",
        "recommender",
        partial(Factorization, scale=0.1),
        ratings,
        F.mse_loss,
        adam(1e-2),
    ),
    own(
        "neural collaborative filtering",
        "recommender",
        NeuralFiltering,
        split_ratings,
        F.mse_loss,
        adam(3e-3),
    ),
    own("highway network", "MLP", Highway, joint_table, F.mse_loss),
    own("radial basis functions", "MLP", RadialBasis, joint_table, F.mse_loss, adam(1e-2)),
    own("mixture density network", "MLP", MixtureDensity, joint_table, mixture_loss),
]
