"""The trials: which network learns which task, by which optimizer, for how long."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.prediction.trials.tasks import Task, task

OPTIMIZERS = ("sgd", "momentum", "nesterov", "adam", "adamw", "rmsprop")
BATCHES = (16, 32, 64, 128, 256)


@dataclass(frozen=True)
class Specification:
    """One trial.

    Attributes:
        index: Its number, and the seed of its weights and of the order of its batches.
        task: Key of ``tasks.TASKS``.
        family: Key of ``networks.FAMILIES``.
        depth: Hidden layers, blocks or convolutions.
        width: Units or channels of each.
        activation: Key of ``networks.ACTIVATIONS``.
        norm: ``"none"``, ``"batch"``, ``"layer"``; of transformers ``"pre"``, ``"post"``.
        dropout: Share, 0 for none.
        skip: Whether layers are added to their inputs.
        branch_scale: Of residual branches at the start, None for none (1e-5: layer scale; 0).
        init: ``"default"``, ``"he"``, ``"xavier"``, ``"orthogonal"`` or ``"normal"``.
        weight_variance: σ_w² of ``"normal"``.
        zero_head: Whether the last layer starts at zero.
        optimizer: One of `OPTIMIZERS`.
        learning_rate: Constant.
        weight_decay: As the optimizer takes it.
        batch_size: Samples a step.
        budget: Steps of the full training.
    """

    index: int
    task: str
    family: str
    depth: int
    width: int
    activation: str
    norm: str
    dropout: float
    skip: bool
    branch_scale: float | None
    init: str
    weight_variance: float
    zero_head: bool
    optimizer: str
    learning_rate: float
    weight_decay: float
    batch_size: int
    budget: int

    def make_optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Over a model's parameters."""
        rate, decay = self.learning_rate, self.weight_decay
        if self.optimizer == "adam":
            return torch.optim.Adam(parameters, rate, weight_decay=decay)
        if self.optimizer == "adamw":
            return torch.optim.AdamW(parameters, rate, weight_decay=decay)
        if self.optimizer == "rmsprop":
            return torch.optim.RMSprop(parameters, rate, weight_decay=decay)
        momentum = 0.0 if self.optimizer == "sgd" else 0.9
        nesterov = self.optimizer == "nesterov"
        return torch.optim.SGD(
            parameters, rate, momentum=momentum, nesterov=nesterov, weight_decay=decay
        )

    def batches(self, of: Task) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Shuffled epochs without an end, each without its last incomplete batch."""
        return shuffled(of, self.batch_size, self.index)


def shuffled(of: Task, size: int, seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Epochs without an end, each without its last incomplete batch."""
    x, y = of.train
    size = min(size, len(x) // 2)
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(len(x), generator=generator)
        for at in range(0, len(x) - size + 1, size):
            chosen = order[at : at + size]
            yield x[chosen], y[chosen]


WEIGHTS = {
    "mnist": 2.0,
    "mnist autoencoder": 1.0,
    "digits": 1.5,
    "cifar10 grey": 1.2,
    "cifar10 colour": 1.2,
    "shapes": 1.5,
    "characters": 2.0,
}
"""How often a task is drawn, 1 for all others; no data set has a quarter of the trials."""


def sample(count: int, root: Path, seed: int = 17) -> list[Specification]:
    """So many trials; the first ones of a longer sample are those of a shorter one."""
    from benchmarks.prediction.trials.tasks import TASKS

    draw = random.Random(seed)
    names = list(TASKS)
    weights = [WEIGHTS.get(name, 1.0) for name in names]
    return [
        _drawn(draw, index, task(draw.choices(names, weights)[0], root)) for index in range(count)
    ]


def _drawn(draw: random.Random, index: int, of: Task) -> Specification:
    family = draw.choice(of.families)
    network = _network(draw, family)
    heavy = family not in ("mlp", "deep mlp", "residual mlp", "autoencoder", "token mlp")
    return Specification(
        index=index,
        task=of.name,
        family=family,
        **network,
        optimizer=draw.choice(OPTIMIZERS),
        learning_rate=log_uniform(draw, 1e-5, 1.0),
        weight_decay=draw.choice([0.0, 0.0, log_uniform(draw, 1e-6, 1e-1)]),
        batch_size=draw.choice(BATCHES),
        budget=round(log_uniform(draw, 100, 1000 if heavy else 2000)),
    )


def _network(draw: random.Random, family: str) -> dict[str, Any]:
    kind = family.split()[-1] if family != "cnn1d classes" else "cnn1d"
    everyday = {
        "activation": draw.choice(["relu", "relu", "gelu", "silu", "tanh", "leaky_relu"]),
        "norm": "none",
        "dropout": draw.choice([0.0, 0.0, round(draw.uniform(0.1, 0.5), 2)]),
        "skip": False,
        "branch_scale": None,
        "init": draw.choice(["default", "default", "default", "he", "xavier"]),
        "weight_variance": 1.0,
        "zero_head": draw.random() < 0.08,
        "width": draw.choice([16, 32, 64]),
        "depth": draw.randint(1, 3),
    }
    scale = draw.choice([None, None, None, 0.0, 1e-5, 0.1])
    if kind == "transformer" or family == "vit":
        norm = draw.choice(["pre", "pre", "post", "none"])
        init = draw.choice(["default", "xavier"])
        return everyday | {
            "norm": norm,
            "width": draw.choice([16, 32]),
            "init": init,
            "branch_scale": scale,
        }
    if kind in ("gru", "lstm"):
        return everyday | {"init": "default", "depth": draw.randint(1, 2)}
    if kind == "cnn1d":
        depth, norm = draw.randint(2, 6), draw.choice(["none", "layer"])
        skip = draw.random() < 0.5
        branch = scale if skip else None
        return everyday | {"depth": depth, "norm": norm, "skip": skip, "branch_scale": branch}
    if family in ("cnn", "residual cnn", "dense cnn"):
        skip = family == "residual cnn" or (family == "dense cnn" and draw.random() < 0.3)
        most = 4 if family == "dense cnn" else 12 if skip else 6
        return everyday | {
            "depth": draw.randint(2 if not skip else 4, most),
            "width": draw.choice([8, 16] if family == "dense cnn" else [8, 16, 24]),
            "norm": draw.choice(["none", "batch", "batch", "layer"]),
            "skip": skip,
            "branch_scale": scale if skip else None,
            "dropout": 0.0 if family == "dense cnn" else everyday["dropout"],
            **_wild(draw, 0.25),
        }
    if family in ("deep mlp", "residual mlp", "fourier mlp"):
        skip = family == "residual mlp" or draw.random() < 0.15
        return everyday | {
            "activation": draw.choice(["relu", "tanh", "gelu", "sigmoid", "selu", "leaky_relu"]),
            "depth": round(log_uniform(draw, 3, 24)),
            "norm": draw.choice(["none", "none", "none", "batch", "layer"]),
            "skip": skip,
            "branch_scale": scale if skip else None,
            "dropout": draw.choice([0.0, 0.0, 0.0, 0.1]),
            **_wild(draw, 0.5),
        }
    if family == "autoencoder":
        return everyday | {"norm": draw.choice(["none", "none", "batch"]), **_wild(draw, 0.2)}
    return everyday | {"width": draw.choice([8, 16, 32, 64, 128])}


def _wild(draw: random.Random, share: float) -> dict[str, Any]:
    """Weights that people do not choose, but get: too large, too small, or orthogonal."""
    init = draw.choice(["normal", "normal", "orthogonal"])
    variance = log_uniform(draw, 0.25, 6)
    return {"init": init, "weight_variance": variance} if draw.random() < share else {}


def log_uniform(draw: random.Random, low: float, high: float) -> float:
    """As likely in each of its octaves."""
    return math.exp(draw.uniform(math.log(low), math.log(high)))
