"""The search space of the demo, and how one of its networks is built and trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from optuna.trial import Trial
from torch import Tensor, nn
from torch.optim import Optimizer

from recent_prune import networks
from recent_prune.data import Images
from recent_prune.probe import Training
from recent_prune.probe.first_steps.training import STEPS

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "adam": torch.optim.Adam,
    "momentum": partial(torch.optim.SGD, momentum=0.9),
    "rmsprop": torch.optim.RMSprop,
}


@dataclass(frozen=True)
class Configuration:
    """One point of the search space: a plain MLP and how it is trained.

    ``weight_variance`` is None where PyTorch's own initialization is taken.
    """

    depth: int
    width: int
    activation: str
    weight_variance: float | None
    optimizer: str
    learning_rate: float
    batch_size: int

    @staticmethod
    def suggest(trial: Trial) -> Configuration:
        """Draw a configuration; the ranges are what people sweep when they do not know yet."""
        gaussian = trial.suggest_categorical("initialization", ["default", "gaussian"])
        return Configuration(
            depth=trial.suggest_int("depth", 2, 32, log=True),
            width=trial.suggest_categorical("width", [32, 64, 128]),
            activation=trial.suggest_categorical("activation", ["tanh", "relu", "gelu"]),
            weight_variance=trial.suggest_float("weight_variance", 0.5, 4.0, log=True)
            if gaussian == "gaussian"
            else None,
            optimizer=trial.suggest_categorical("optimizer", list(OPTIMIZERS)),
            learning_rate=trial.suggest_float("learning_rate", 1e-5, 1.0, log=True),
            batch_size=trial.suggest_categorical("batch_size", [32, 64, 128]),
        )

    def build(self, images: Images, seed: int) -> nn.Sequential:
        """The network at its initialization."""
        model = networks.mlp(
            images.train[0].numel(),
            int(images.train_labels.max()) + 1,
            depth=self.depth,
            width=self.width,
            activation=self.activation,
            weight_variance=self.weight_variance or 1.0,
            seed=seed,
        )
        if self.weight_variance is None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                for layer in model:
                    if isinstance(layer, nn.Linear):
                        layer.reset_parameters()
        return model

    def training(self, images: Images, epochs: int) -> Training:
        """The same loop as :meth:`train` has, for the probe."""
        budget = epochs * math.ceil(len(images.train) / self.batch_size)
        return Training(
            nn.functional.cross_entropy,
            self._optimizer,
            steps=min(STEPS, budget),
            budget=budget,
            batch_size=self.batch_size,
        )

    def train(self, model: nn.Module, images: Images, epochs: int, seed: int) -> Iterator[float]:
        """Train in place; yields the test accuracy after each epoch."""
        optimizer = self._optimizer(model.parameters())
        generator = torch.Generator().manual_seed(seed)
        for _ in range(epochs):
            order = torch.randperm(len(images.train), generator=generator)
            for batch in order.split(self.batch_size):
                logits = model(images.train[batch])
                loss = nn.functional.cross_entropy(logits, images.train_labels[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            yield _accuracy(model, images.test, images.test_labels)

    def _optimizer(self, parameters: Iterable[nn.Parameter]) -> Optimizer:
        return OPTIMIZERS[self.optimizer](parameters, lr=self.learning_rate)


@torch.no_grad()
def _accuracy(model: nn.Module, samples: Tensor, labels: Tensor) -> float:
    return float((model(samples).argmax(dim=1) == labels).float().mean())
