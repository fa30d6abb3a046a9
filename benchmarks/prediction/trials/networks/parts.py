"""Layers and activations that the networks are made of."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from benchmarks.prediction.trials.tasks import Task

if TYPE_CHECKING:
    from benchmarks.prediction.trials.specification import Specification

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "sigmoid": nn.Sigmoid,
    "leaky_relu": nn.LeakyReLU,
    "silu": nn.SiLU,
    "selu": nn.SELU,
}


class Residual(nn.Module):
    """x + scale · f(x)."""

    def __init__(self, inner: nn.Module, width: int, scale: float | None, axis: int) -> None:
        super().__init__()
        self.inner = inner
        self.scale = None
        if scale is not None:
            shape = [1] * -axis
            shape[0] = width
            self.scale = nn.Parameter(torch.full(shape, scale))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x)
        return x + out if self.scale is None else x + self.scale * out


class Attention(nn.Module):
    """Self-attention, causal or not."""

    def __init__(self, width: int, heads: int, *, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, t, d = x.shape
        q, k, v = self.qkv(x).view(n, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(n, t, d))
        return out


class Embedded(nn.Module):
    """Tokens, or numbers at positions, with learned positions, before a body."""

    def __init__(self, task: Task, width: int, *, positions: bool) -> None:
        super().__init__()
        example = task.train[0]
        length = example.shape[1]
        self.embed: nn.Module
        if task.vocabulary:
            self.embed = nn.Embedding(task.vocabulary, width)
        else:
            self.embed = nn.Linear(example.shape[-1], width)
        self.position = nn.Parameter(0.02 * torch.randn(length, width)) if positions else None

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.embed(x)
        return h if self.position is None else h + self.position


class Recurrent(nn.Module):
    """The outputs of a GRU or an LSTM at every position."""

    def __init__(self, cell: type[nn.GRU | nn.LSTM], width: int, depth: int, drop: float) -> None:
        super().__init__()
        self.rnn = cell(width, width, depth, batch_first=True, dropout=drop if depth > 1 else 0)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.rnn(x)[0]
        return out


class Causal(nn.Module):
    """A 1-d convolution over positions [n, t, d], causal or not."""

    def __init__(self, width: int, *, causal: bool) -> None:
        super().__init__()
        self.left, self.right = (2, 0) if causal else (1, 1)
        self.conv = nn.Conv1d(width, width, 3)

    def forward(self, x: Tensor) -> Tensor:
        padded = nn.functional.pad(x.transpose(1, 2), (self.left, self.right))
        out: Tensor = self.conv(padded).transpose(1, 2)
        return out


class Last(nn.Module):
    """The last position."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, -1]


class Mean(nn.Module):
    """The mean over positions."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=1)


class Patches(nn.Module):
    """Images as patches of 4 × 4 pixels (2 × 2 of small ones), with learned positions."""

    def __init__(self, image: Tensor, width: int) -> None:
        super().__init__()
        size = 4 if image.shape[-1] >= 14 else 2
        self.conv = nn.Conv2d(len(image), width, size, stride=size)
        self.position = nn.Parameter(0.02 * torch.randn((image.shape[-1] // size) ** 2, width))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x).flatten(2).transpose(1, 2) + self.position
        return out


class Fourier(nn.Module):
    """Positions as waves of six octaves."""

    def forward(self, x: Tensor) -> Tensor:
        waves = [f(x * math.pi * 2.0**k) for k in range(6) for f in (torch.sin, torch.cos)]
        return torch.cat([x, *waves], dim=-1)


def norm(kind: str, width: int, axes: int) -> list[nn.Module]:
    if kind == "none":
        return []
    if kind == "batch":
        return [nn.BatchNorm2d(width) if axes == 2 else nn.BatchNorm1d(width)]
    return [nn.GroupNorm(1, width) if axes == 2 else nn.LayerNorm(width)]


def dropout(s: Specification) -> list[nn.Module]:
    return [nn.Dropout(s.dropout)] if s.dropout else []
