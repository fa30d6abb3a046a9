"""Small models that several tests probe."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from recent_prune import networks


def mlp(depth: int = 3, width: int = 16, weight_variance: float = 1.76, **other: Any) -> nn.Module:
    """A plain tanh MLP for inputs of 64 features."""
    return networks.mlp(64, 10, depth=depth, width=width, weight_variance=weight_variance, **other)


class Functional(nn.Module):
    """Activation functions as functions, not modules."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 16)
        self.second = nn.Linear(16, 12)
        self.head = nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.first(x.flatten(1)))
        return self.head(torch.relu(self.second(hidden)))  # type: ignore[no-any-return]


class Residual(nn.Module):
    """A skip connection: not a chain."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(64, 16)
        self.block = nn.Linear(16, 16)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        stem = torch.tanh(self.stem(x.flatten(1)))
        return self.head(stem + torch.tanh(self.block(stem)))  # type: ignore[no-any-return]


class Noisy(nn.Module):
    """All that a probe could disturb: batch statistics, dropout, in-place operations."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Flatten(),
            nn.Linear(64, 16),
            nn.BatchNorm1d(16),
            nn.ReLU(inplace=True),
            nn.Dropout(0.3),
            nn.Linear(16, 16),
            nn.Tanh(),
            nn.Linear(16, 10),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)  # type: ignore[no-any-return]


class Tokens(nn.Module):
    """Integer inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 8)
        self.hidden = nn.Linear(8, 16)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.hidden(self.embedding(x)))
        return self.head(hidden.mean(dim=1))  # type: ignore[no-any-return]


def cnn(batch_norm: bool = False) -> nn.Sequential:
    """Strided and padded convolutions, pooling and flattening, for inputs [n, 1, 8, 8]."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, padding_mode="circular"),
        nn.BatchNorm2d(4) if batch_norm else nn.Identity(),
        nn.Tanh(),
        nn.Conv2d(4, 6, 3, stride=2),
        nn.ReLU(),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.Flatten(),
        nn.Linear(24, 12),
        nn.Tanh(),
        nn.Linear(12, 10),
    )


class Rows(nn.Module):
    """Of sequences [n, t, 8] each position by itself, then their mean over the real ones."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 16), nn.Linear(16, 12)
        self.head = nn.Linear(12, 2)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        hidden = torch.tanh(self.second(torch.tanh(self.first(x))))
        if mask is None:
            return self.head(hidden.mean(1))  # type: ignore[no-any-return]
        real = mask[..., None] > 0
        return self.head(hidden.masked_fill(~real, 0).sum(1) / real.sum(1))  # type: ignore[no-any-return]


class Bert(nn.Module):
    """A transformer of tokens as users call it: ``model(**batch)``; it returns a mapping."""

    def __init__(self, layers: int = 2) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(50, 16, padding_idx=0), nn.Embedding(64, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(16, 2)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> dict[str, Tensor]:
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        hidden = self.words(input_ids) + self.places(torch.arange(input_ids.shape[1]))
        hidden = self.encoder(hidden, src_key_padding_mask=attention_mask == 0)
        weight = attention_mask[..., None].to(hidden)
        logits = self.head((hidden * weight).sum(1) / weight.sum(1))
        own = {} if labels is None else {"loss": nn.functional.cross_entropy(logits, labels)}
        return {"logits": logits, **own}


class Compared(nn.Module):
    """A Siamese network: one tower for two inputs."""

    def __init__(self, features: int = 64) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(features, 16), nn.Linear(16, 12)
        self.head = nn.Linear(12, 2)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        one, two = (self.second(torch.tanh(self.first(x))) for x in (a, b))
        return self.head((one - two).abs())  # type: ignore[no-any-return]
