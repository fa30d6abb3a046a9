"""The networks of the trials, small ones of every kind that people tune."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import nn

from benchmarks.prediction.trials.networks.parts import (
    ACTIVATIONS,
    Attention,
    Causal,
    Embedded,
    Fourier,
    Last,
    Mean,
    Patches,
    Recurrent,
    Residual,
    dropout,
    norm,
)
from benchmarks.prediction.trials.tasks import Task

if TYPE_CHECKING:
    from benchmarks.prediction.trials.specification import Specification


def mlp(s: Specification, task: Task, *, first: nn.Module | None = None) -> nn.Sequential:
    """Hidden layers of one width, with normalisation, dropout and skips as specified."""
    layers: list[nn.Module] = [first] if first is not None else []
    layers.append(nn.Flatten())
    with torch.no_grad():
        features = nn.Sequential(*layers)(task.train[0][:2]).shape[1]
    for number in range(s.depth):
        part: list[nn.Module] = [nn.Linear(features, s.width), *norm(s.norm, s.width, 0)]
        part += [ACTIVATIONS[s.activation](), *dropout(s)]
        if s.skip and number:
            layers.append(Residual(nn.Sequential(*part), s.width, s.branch_scale, -1))
        else:
            layers += part
        features = s.width
    return nn.Sequential(*layers, nn.Linear(features, task.outputs))


def fourier_mlp(s: Specification, task: Task) -> nn.Sequential:
    """An MLP of a position's waves."""
    return mlp(s, task, first=Fourier())


def token_mlp(s: Specification, task: Task) -> nn.Sequential:
    """An MLP of the embeddings of all positions."""
    return mlp(s, task, first=Embedded(task, 16, positions=False))


def cnn(s: Specification, task: Task) -> nn.Sequential:
    """3 × 3 convolutions, two of them (as the image allows) strided; the mean over positions."""
    image = task.train[0][0]
    layers: list[nn.Module] = []
    channels = len(image)
    for number in range(s.depth):
        stride = 2 if number in (0, 2) else 1
        part: list[nn.Module] = [nn.Conv2d(channels, s.width, 3, stride, 1)]
        part += [*norm(s.norm, s.width, 2), ACTIVATIONS[s.activation]()]
        if s.skip and stride == 1:
            layers.append(Residual(nn.Sequential(*part), s.width, s.branch_scale, -3))
        else:
            layers += part
        channels = s.width
    layers += [nn.AdaptiveAvgPool2d(2), nn.Flatten(), *dropout(s)]
    return nn.Sequential(*layers, nn.Linear(4 * channels, task.outputs))


def dense_cnn(s: Specification, task: Task) -> nn.Sequential:
    """Convolutions at full size, and one number a pixel."""
    layers: list[nn.Module] = []
    channels = len(task.train[0][0])
    for number in range(s.depth):
        part: list[nn.Module] = [nn.Conv2d(channels, s.width, 3, padding=1)]
        part += [*norm(s.norm, s.width, 2), ACTIVATIONS[s.activation]()]
        if s.skip and number:
            layers.append(Residual(nn.Sequential(*part), s.width, s.branch_scale, -3))
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
        layers += [nn.Linear(a, b), *norm(s.norm, b, 0), ACTIVATIONS[s.activation](), *dropout(s)]
    return nn.Sequential(*layers, nn.Linear(s.width, task.outputs))


def _blocks(s: Specification, *, causal: bool) -> list[nn.Module]:
    """Transformer blocks, with the normalisation before or after, or without any."""
    blocks: list[nn.Module] = []
    for _ in range(s.depth):
        feed_forward = nn.Sequential(
            nn.Linear(s.width, 2 * s.width),
            ACTIVATIONS[s.activation](),
            *dropout(s),
            nn.Linear(2 * s.width, s.width),
        )
        for inner in (Attention(s.width, 2, causal=causal), feed_forward):
            norm = nn.LayerNorm(s.width)
            body = nn.Sequential(norm, inner) if s.norm == "pre" else inner
            blocks.append(Residual(body, s.width, s.branch_scale, -1))
            if s.norm == "post":
                blocks.append(nn.LayerNorm(s.width))
    return [*blocks, nn.LayerNorm(s.width)] if s.norm == "pre" else blocks


def vit(s: Specification, task: Task) -> nn.Sequential:
    """A small vision transformer."""
    body = [Patches(task.train[0][0], s.width), *_blocks(s, causal=False), Mean()]
    return nn.Sequential(*body, nn.Linear(s.width, task.outputs))


def _sequence(
    body: str, *, pooled: nn.Module | None = None, causal: bool = False
) -> Callable[[Specification, Task], nn.Sequential]:
    """Networks over positions; ``pooled`` leaves one of them."""

    def build(s: Specification, task: Task) -> nn.Sequential:
        attends = body == "transformer"
        layers: list[nn.Module] = [Embedded(task, s.width, positions=attends)]
        if attends:
            layers += _blocks(s, causal=causal)
        elif body == "cnn1d":
            for _ in range(s.depth):
                part = nn.Sequential(
                    Causal(s.width, causal=causal),
                    *norm("layer" if s.norm != "none" else "none", s.width, 0),
                    ACTIVATIONS[s.activation](),
                )
                layers.append(Residual(part, s.width, s.branch_scale, -1) if s.skip else part)
        else:
            cell: type[nn.GRU | nn.LSTM] = nn.GRU if body == "gru" else nn.LSTM
            layers.append(Recurrent(cell, s.width, s.depth, s.dropout))
        layers += [] if pooled is None else [type(pooled)()]
        return nn.Sequential(*layers, *dropout(s), nn.Linear(s.width, task.outputs))

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
    "token transformer": _sequence("transformer", pooled=Mean()),
    "token gru": _sequence("gru", pooled=Last()),
    "last gru": _sequence("gru", pooled=Last()),
    "last lstm": _sequence("lstm", pooled=Last()),
    "last transformer": _sequence("transformer", pooled=Mean()),
    "cnn1d classes": _sequence("cnn1d", pooled=Mean()),
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
