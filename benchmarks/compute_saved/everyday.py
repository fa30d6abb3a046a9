"""The everyday space: what people really sweep over, and what fails there by its learning rate.

The MLP of Optuna's own PyTorch example with its ranges (1–3 layers of 4–128 units, dropout
0.2–0.5), small CNNs with and without batch normalisation, MLPs of 2–20 layers as PyTorch, He or
Xavier initialize them, and small transformers of image patches; Adam, RMSprop, SGD with momentum
and without, learning rates log-uniform from 1e-5 to 1, batches of 32 or 128.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.prediction.trials.networks import build
from benchmarks.prediction.trials.specification import Specification
from benchmarks.prediction.trials.tasks import Task


@dataclass(frozen=True)
class Everyday:
    """One trial.

    Attributes:
        trial: Network, optimizer, rate and batch size.
    """

    trial: Specification

    @property
    def index(self) -> int:
        """The seed of all that is drawn for it."""
        return self.trial.index

    @property
    def batch_size(self) -> int:
        """Samples a step."""
        return self.trial.batch_size

    def build(self, image: Tensor) -> nn.Module:
        """The initialized network for images like ``image``."""
        pair = image[None].expand(2, *image.shape)
        labels = torch.zeros(2, dtype=torch.int64)
        task = Task("mnist", "mnist", "classes", (pair, labels), (pair, labels), 10, ())
        return build(self.trial, task)

    def make_optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Over a model's parameters."""
        return self.trial.make_optimizer(parameters)

    def columns(self) -> dict[str, Any]:
        """All of it as columns of a table."""
        return asdict(self.trial)


def draw(numbers: random.Random, index: int) -> Everyday:
    """A trial of the space."""
    kind = numbers.choice(["mlp", "cnn", "deep mlp", "vit"])
    network: dict[str, Any] = {
        "depth": numbers.randint(1, 3),
        "width": round(_log_uniform(numbers, 4, 128)),
        "activation": "relu",
        "norm": "none",
        "dropout": round(numbers.uniform(0.2, 0.5), 2),
        "init": "default",
    }
    if kind == "cnn":
        network |= {
            "depth": numbers.randint(2, 6),
            "width": numbers.choice([8, 16]),
            "norm": numbers.choice(["none", "batch"]),
            "dropout": 0.0,
        }
    elif kind == "deep mlp":
        network |= {
            "depth": numbers.randint(2, 20),
            "width": 64,
            "activation": numbers.choice(["tanh", "relu", "gelu", "sigmoid", "leaky_relu"]),
            "dropout": 0.0,
            "init": numbers.choice(["default", "he", "xavier"]),
        }
    elif kind == "vit":
        network |= {
            "depth": numbers.randint(1, 4),
            "width": numbers.choice([16, 32]),
            "activation": "gelu",
            "norm": numbers.choice(["pre", "post"]),
            "dropout": 0.0,
        }
    trial = Specification(
        index=index,
        task="mnist",
        family=kind,
        **network,
        skip=False,
        branch_scale=None,
        weight_variance=1.0,
        zero_head=False,
        optimizer=numbers.choice(["adam", "rmsprop", "sgd", "momentum"]),
        learning_rate=_log_uniform(numbers, 1e-5, 1.0),
        weight_decay=0.0,
        batch_size=numbers.choice([32, 128]),
        budget=0,  # epochs are the space's
    )
    return Everyday(trial)


def _log_uniform(numbers: random.Random, low: float, high: float) -> float:
    return math.exp(numbers.uniform(math.log(low), math.log(high)))
