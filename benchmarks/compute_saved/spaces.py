"""The search spaces: a fixed, seeded sample of configurations from each."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from benchmarks.compute_saved import everyday
from benchmarks.compute_saved.everyday import Everyday
from benchmarks.prediction.networks import Specification

ACTIVATIONS = ("tanh", "relu", "gelu", "sigmoid", "leaky_relu")


@dataclass(frozen=True)
class Configuration:
    """One network and how it is trained.

    Attributes:
        network: Its ``index`` is the configuration's, and the seed of all that is drawn for it.
        learning_rate: Of the optimizer.
        optimizer: SGD has a momentum of 0.9.
        initialization: ``"normal"``, as the network says, or PyTorch's ``"default"``.
    """

    network: Specification
    learning_rate: float
    optimizer: Literal["adam", "sgd"] = "adam"
    initialization: Literal["normal", "default"] = "normal"

    batch_size = 128

    @property
    def index(self) -> int:
        """The network's."""
        return self.network.index

    def make_optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Over a model's parameters."""
        if self.optimizer == "adam":
            return torch.optim.Adam(parameters, self.learning_rate)
        return torch.optim.SGD(parameters, self.learning_rate, momentum=0.9)

    def build(self, image: Tensor) -> nn.Sequential:
        """The initialized network for images like ``image`` [channels, height, width]."""
        model = self.network.build(image)
        if self.initialization == "default":
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.network.index)
                for module in model.modules():
                    if isinstance(module, (nn.Linear, nn.Conv2d)):
                        module.reset_parameters()
        return model

    def columns(self) -> dict[str, Any]:
        """All of it as columns of a table."""
        own = {k: v for k, v in asdict(self).items() if k != "network"}
        return {**asdict(self.network), **own}


@dataclass(frozen=True)
class Space:
    """A search space.

    Attributes:
        about: One sentence.
        data: ``"mnist"`` or ``"cifar10"``.
        count: Configurations in the sample.
        epochs: That each is trained for.
        seed: Of the sample, which no other space has.
        draw: A configuration from random numbers and its index.
        parameters: The columns that are searched over; a number is searched on a logarithmic scale.
    """

    about: str
    data: Literal["mnist", "cifar10"]
    count: int
    epochs: int
    seed: int
    draw: Callable[[random.Random, int], Configuration | Everyday]
    parameters: tuple[str, ...]

    def sample(self) -> list[Configuration | Everyday]:
        """The configurations, the same each time; indices differ between spaces."""
        numbers = random.Random(self.seed)
        return [self.draw(numbers, 1000 * self.seed + i) for i in range(self.count)]


def _wild(numbers: random.Random, index: int) -> Configuration:
    kind = numbers.choice(["mlp", "mlp", "mlp", "cnn"])
    block = numbers.choice(["plain", "plain", "norm", "skip"])
    network = Specification(
        index=index,
        family="wild",
        kind=kind,
        activation=numbers.choice(ACTIVATIONS),
        depth=numbers.randint(2, 64) if kind == "mlp" else numbers.randint(3, 32),
        width=numbers.choice([64, 128] if kind == "mlp" else [8, 16]),
        weight_variance=_log_uniform(numbers, 0.25, 4) ** 2,
        bias_variance=numbers.choice([0.0, 0.05]),
        norm=numbers.choice(["batch", "layer"]) if block == "norm" else "none",
        skip=block == "skip",
    )
    return Configuration(network, _log_uniform(numbers, 3e-5, 3e-2))


def _default(numbers: random.Random, index: int) -> Configuration:
    network = Specification(
        index=index,
        family="default",
        kind="mlp",
        activation=numbers.choice(ACTIVATIONS),
        depth=_log_uniform_int(numbers, 2, 64),
        width=128,
        weight_variance=1 / 3,
        bias_variance=0.0,
    )
    return Configuration(network, _log_uniform(numbers, 1e-4, 1e-2), initialization="default")


def _benign(numbers: random.Random, index: int) -> Configuration:
    kind = numbers.choice(["mlp", "mlp", "mlp", "cnn"])
    network = Specification(
        index=index,
        family="benign",
        kind=kind,
        activation=numbers.choice(["relu", "gelu", "leaky_relu"]),
        depth=_log_uniform_int(numbers, 2, 32)
        if kind == "mlp"
        else _log_uniform_int(numbers, 3, 16),
        width=numbers.choice([64, 128] if kind == "mlp" else [8, 16]),
        weight_variance=2.0,
        bias_variance=0.0,
        norm="batch",
        skip=numbers.choice([False, True]),
    )
    return Configuration(network, _log_uniform(numbers, 3e-4, 1e-2))


def _slow(numbers: random.Random, index: int) -> Configuration:
    activation = numbers.choice(["tanh", "relu"])
    critical = {"tanh": 1.4, "relu": 2.0}[activation]
    network = Specification(
        index=index,
        family="slow",
        kind="mlp",
        activation=activation,
        depth=_log_uniform_int(numbers, 20, 60),
        width=64,
        weight_variance=critical * _log_uniform(numbers, 0.8, 1.25),
        bias_variance={"tanh": 0.05, "relu": 0.0}[activation],
    )
    return Configuration(network, _log_uniform(numbers, 3e-4, 1e-2), "sgd")


def _log_uniform(numbers: random.Random, low: float, high: float) -> float:
    return math.exp(numbers.uniform(math.log(low), math.log(high)))


def _log_uniform_int(numbers: random.Random, low: int, high: int) -> int:
    return round(_log_uniform(numbers, low, high))


_WILD_PARAMETERS = (
    "kind",
    "activation",
    "depth",
    "weight_variance",
    "norm",
    "skip",
    "learning_rate",
)

SPACES = {
    "everyday": Space(
        about="MLPs as in Optuna's PyTorch example, small CNNs, deep MLPs and small transformers; "
        "Adam, RMSprop, SGD with momentum and without, from 1e-5 to 1; batches of 32 or 128",
        data="mnist",
        count=300,
        epochs=4,
        seed=6,
        draw=everyday.draw,
        parameters=(
            "family",
            "depth",
            "width",
            "activation",
            "norm",
            "optimizer",
            "learning_rate",
            "batch_size",
        ),
    ),
    "wild_mnist": Space(
        about="MLPs of 2–64 and CNNs of 3–32 layers, five activation functions, gains σ_w from 1/4 "
        "to 4, Adam from 3e-5 to 3e-2; half plain, a quarter with norm, a quarter with skips",
        data="mnist",
        count=300,
        epochs=10,
        seed=1,
        draw=_wild,
        parameters=_WILD_PARAMETERS,
    ),
    "wild_cifar10": Space(
        about="The same space on colour images",
        data="cifar10",
        count=60,
        epochs=10,
        seed=2,
        draw=_wild,
        parameters=_WILD_PARAMETERS,
    ),
    "default": Space(
        about="MLPs of 2–64 layers as PyTorch initializes them, five activation functions, Adam "
        "from 1e-4 to 1e-2",
        data="mnist",
        count=150,
        epochs=10,
        seed=3,
        draw=_default,
        parameters=("activation", "depth", "learning_rate"),
    ),
    "benign": Space(
        about="He initialization and batch norm, half with skips, 2–32 layers, ReLU, GELU and "
        "leaky ReLU, Adam from 3e-4 to 1e-2",
        data="mnist",
        count=150,
        epochs=10,
        seed=4,
        draw=_benign,
        parameters=("kind", "activation", "depth", "width", "skip", "learning_rate"),
    ),
    "slow": Space(
        about="Tanh and ReLU MLPs of 20–60 layers within 25 % of the critical variance, SGD with "
        "momentum from 3e-4 to 1e-2",
        data="mnist",
        count=150,
        epochs=24,
        seed=5,
        draw=_slow,
        parameters=("activation", "depth", "weight_variance", "learning_rate"),
    ),
}

LONGER = {
    "everyday_longer": replace(
        SPACES["everyday"],
        about="A third of the everyday space, trained ten times as long",
        count=100,
        epochs=40,
    )
}
"""For the question of the budget alone; see `budgets`."""

TRAINED = SPACES | LONGER
"""All of which there are tables."""
