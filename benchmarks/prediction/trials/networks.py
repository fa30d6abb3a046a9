"""The networks of the trials, small ones of every kind that people tune."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
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


class _Residual(nn.Module):
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


class _Attention(nn.Module):
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


class _Embedded(nn.Module):
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


class _Recurrent(nn.Module):
    """The outputs of a GRU or an LSTM at every position."""

    def __init__(self, cell: type[nn.GRU | nn.LSTM], width: int, depth: int, drop: float) -> None:
        super().__init__()
        self.rnn = cell(width, width, depth, batch_first=True, dropout=drop if depth > 1 else 0)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.rnn(x)[0]
        return out


class _Causal(nn.Module):
    """A 1-d convolution over positions [n, t, d], causal or not."""

    def __init__(self, width: int, *, causal: bool) -> None:
        super().__init__()
        self.left, self.right = (2, 0) if causal else (1, 1)
        self.conv = nn.Conv1d(width, width, 3)

    def forward(self, x: Tensor) -> Tensor:
        padded = nn.functional.pad(x.transpose(1, 2), (self.left, self.right))
        out: Tensor = self.conv(padded).transpose(1, 2)
        return out


class _Last(nn.Module):
    """The last position."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, -1]


class _Mean(nn.Module):
    """The mean over positions."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=1)


class _Patches(nn.Module):
    """Images as patches of 4 × 4 pixels (2 × 2 of small ones), with learned positions."""

    def __init__(self, image: Tensor, width: int) -> None:
        super().__init__()
        size = 4 if image.shape[-1] >= 14 else 2
        self.conv = nn.Conv2d(len(image), width, size, stride=size)
        self.position = nn.Parameter(0.02 * torch.randn((image.shape[-1] // size) ** 2, width))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x).flatten(2).transpose(1, 2) + self.position
        return out


class _Fourier(nn.Module):
    """Positions as waves of six octaves."""

    def forward(self, x: Tensor) -> Tensor:
        waves = [f(x * math.pi * 2.0**k) for k in range(6) for f in (torch.sin, torch.cos)]
        return torch.cat([x, *waves], dim=-1)


def _norm(kind: str, width: int, axes: int) -> list[nn.Module]:
    if kind == "none":
        return []
    if kind == "batch":
        return [nn.BatchNorm2d(width) if axes == 2 else nn.BatchNorm1d(width)]
    return [nn.GroupNorm(1, width) if axes == 2 else nn.LayerNorm(width)]


def _dropout(s: Specification) -> list[nn.Module]:
    return [nn.Dropout(s.dropout)] if s.dropout else []


def mlp(s: Specification, task: Task, *, first: nn.Module | None = None) -> nn.Sequential:
    """Hidden layers of one width, with normalisation, dropout and skips as specified."""
    layers: list[nn.Module] = [first] if first is not None else []
    layers.append(nn.Flatten())
    with torch.no_grad():
        features = nn.Sequential(*layers)(task.train[0][:2]).shape[1]
    for number in range(s.depth):
        part: list[nn.Module] = [nn.Linear(features, s.width), *_norm(s.norm, s.width, 0)]
        part += [ACTIVATIONS[s.activation](), *_dropout(s)]
        if s.skip and number:
            layers.append(_Residual(nn.Sequential(*part), s.width, s.branch_scale, -1))
        else:
            layers += part
        features = s.width
    return nn.Sequential(*layers, nn.Linear(features, task.outputs))


def fourier_mlp(s: Specification, task: Task) -> nn.Sequential:
    """An MLP of a position's waves."""
    return mlp(s, task, first=_Fourier())


def token_mlp(s: Specification, task: Task) -> nn.Sequential:
    """An MLP of the embeddings of all positions."""
    return mlp(s, task, first=_Embedded(task, 16, positions=False))


def cnn(s: Specification, task: Task) -> nn.Sequential:
    """3 × 3 convolutions, two of them (as the image allows) strided; the mean over positions."""
    image = task.train[0][0]
    layers: list[nn.Module] = []
    channels = len(image)
    for number in range(s.depth):
        stride = 2 if number in (0, 2) else 1
        part: list[nn.Module] = [nn.Conv2d(channels, s.width, 3, stride, 1)]
        part += [*_norm(s.norm, s.width, 2), ACTIVATIONS[s.activation]()]
        if s.skip and stride == 1:
            layers.append(_Residual(nn.Sequential(*part), s.width, s.branch_scale, -3))
        else:
            layers += part
        channels = s.width
    layers += [nn.AdaptiveAvgPool2d(2), nn.Flatten(), *_dropout(s)]
    return nn.Sequential(*layers, nn.Linear(4 * channels, task.outputs))


def dense_cnn(s: Specification, task: Task) -> nn.Sequential:
    """Convolutions at full size, and one number a pixel."""
    layers: list[nn.Module] = []
    channels = len(task.train[0][0])
    for number in range(s.depth):
        part: list[nn.Module] = [nn.Conv2d(channels, s.width, 3, padding=1)]
        part += [*_norm(s.norm, s.width, 2), ACTIVATIONS[s.activation]()]
        if s.skip and number:
            layers.append(_Residual(nn.Sequential(*part), s.width, s.branch_scale, -3))
        else:
            layers += part
        channels = s.width
    return nn.Sequential(*layers, nn.Conv2d(channels, 1, 1), nn.Flatten())


def autoencoder(s: Specification, task: Task) -> nn.Sequential:
    """Narrow in the middle: 8 units."""
    features = task.train[0][0].numel()
    half = [features, *[s.width] * s.depth, 8]
    sizes = half + half[-2:0:-1]
    layers: list[nn.Module] = [nn.Flatten()]
    for a, b in itertools.pairwise(sizes):
        layers += [nn.Linear(a, b), *_norm(s.norm, b, 0), ACTIVATIONS[s.activation](), *_dropout(s)]
    return nn.Sequential(*layers, nn.Linear(s.width, task.outputs))


def _blocks(s: Specification, *, causal: bool) -> list[nn.Module]:
    """Transformer blocks, with the normalisation before or after, or without any."""
    blocks: list[nn.Module] = []
    for _ in range(s.depth):
        feed_forward = nn.Sequential(
            nn.Linear(s.width, 2 * s.width),
            ACTIVATIONS[s.activation](),
            *_dropout(s),
            nn.Linear(2 * s.width, s.width),
        )
        for inner in (_Attention(s.width, 2, causal=causal), feed_forward):
            norm = nn.LayerNorm(s.width)
            body = nn.Sequential(norm, inner) if s.norm == "pre" else inner
            blocks.append(_Residual(body, s.width, s.branch_scale, -1))
            if s.norm == "post":
                blocks.append(nn.LayerNorm(s.width))
    return [*blocks, nn.LayerNorm(s.width)] if s.norm == "pre" else blocks


def vit(s: Specification, task: Task) -> nn.Sequential:
    """A small vision transformer."""
    body = [_Patches(task.train[0][0], s.width), *_blocks(s, causal=False), _Mean()]
    return nn.Sequential(*body, nn.Linear(s.width, task.outputs))


def _sequence(
    body: str, *, pooled: nn.Module | None = None, causal: bool = False
) -> Callable[[Specification, Task], nn.Sequential]:
    """Networks over positions; ``pooled`` leaves one of them."""

    def build(s: Specification, task: Task) -> nn.Sequential:
        attends = body == "transformer"
        layers: list[nn.Module] = [_Embedded(task, s.width, positions=attends)]
        if attends:
            layers += _blocks(s, causal=causal)
        elif body == "cnn1d":
            for _ in range(s.depth):
                part = nn.Sequential(
                    _Causal(s.width, causal=causal),
                    *_norm("layer" if s.norm != "none" else "none", s.width, 0),
                    ACTIVATIONS[s.activation](),
                )
                layers.append(_Residual(part, s.width, s.branch_scale, -1) if s.skip else part)
        else:
            cell: type[nn.GRU | nn.LSTM] = nn.GRU if body == "gru" else nn.LSTM
            layers.append(_Recurrent(cell, s.width, s.depth, s.dropout))
        layers += [] if pooled is None else [type(pooled)()]
        return nn.Sequential(*layers, *_dropout(s), nn.Linear(s.width, task.outputs))

    return build


FAMILIES: dict[str, Callable[[Specification, Task], nn.Sequential]] = {
    "mlp": mlp,
    "deep mlp": mlp,
    "residual mlp": mlp,
    "fourier mlp": fourier_mlp,
    "token mlp": token_mlp,
    "cnn": cnn,
    "residual cnn": cnn,
    "dense cnn": dense_cnn,
    "vit": vit,
    "autoencoder": autoencoder,
    "gru": _sequence("gru"),
    "lstm": _sequence("lstm"),
    "transformer": _sequence("transformer"),
    "cnn1d": _sequence("cnn1d"),
    "causal transformer": _sequence("transformer", causal=True),
    "causal cnn1d": _sequence("cnn1d", causal=True),
    "token transformer": _sequence("transformer", pooled=_Mean()),
    "token gru": _sequence("gru", pooled=_Last()),
    "last gru": _sequence("gru", pooled=_Last()),
    "last lstm": _sequence("lstm", pooled=_Last()),
    "last transformer": _sequence("transformer", pooled=_Mean()),
    "cnn1d classes": _sequence("cnn1d", pooled=_Mean()),
}
"""By name: from a specification and its task to the network at PyTorch's default initialization."""


def build(s: Specification, task: Task) -> nn.Sequential:
    """The network of a trial at its initialization; the same each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(s.index)
        model = FAMILIES[s.family](s, task)
        _initialize(model, s)
    return model.train()


def _initialize(model: nn.Sequential, s: Specification) -> None:
    weighted = [m for m in model.modules() if isinstance(m, (nn.Linear, nn.Conv1d, nn.Conv2d))]
    for module in weighted:
        if s.init == "default":
            continue
        if s.init == "he":
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif s.init == "xavier":
            nn.init.xavier_uniform_(module.weight)
        elif s.init == "orthogonal":
            nn.init.orthogonal_(module.weight)
        else:  # "normal": W ~ N(0, σ_w² / fan_in)
            deviation = math.sqrt(s.weight_variance / module.weight[0].numel())
            nn.init.normal_(module.weight, std=deviation)
        if module.bias is not None:
            nn.init.normal_(module.bias, std=math.sqrt(0.05)) if s.init == "normal" else (
                nn.init.zeros_(module.bias)
            )
    if s.zero_head:
        head = weighted[-1]
        nn.init.zeros_(head.weight)
        if head.bias is not None:
            nn.init.zeros_(head.bias)
