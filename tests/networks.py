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
