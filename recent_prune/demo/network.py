"""The search space of the demo, and how one of its networks is built and trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from optuna.trial import Trial
from torch import Tensor, nn

from recent_prune import networks
from recent_prune.data import Images

BATCH_SIZE = 64
OPTIMIZERS = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}


@dataclass(frozen=True)
class Configuration:
    """One point of the search space: a plain MLP and how it is trained."""

    depth: int
    width: int
    activation: str
    weight_variance: float
    bias_variance: float
    learning_rate: float
    optimizer: str

    @staticmethod
    def suggest(trial: Trial) -> Configuration:
        """Draw a configuration; the ranges are what people sweep when they do not know yet."""
        return Configuration(
            depth=trial.suggest_int("depth", 2, 64),
            width=trial.suggest_categorical("width", [32, 64, 128]),
            activation=trial.suggest_categorical("activation", ["tanh", "relu", "gelu"]),
            weight_variance=trial.suggest_float("weight_variance", 0.1, 10.0, log=True),
            bias_variance=trial.suggest_float("bias_variance", 1e-4, 0.1, log=True),
            learning_rate=trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True),
            optimizer=trial.suggest_categorical("optimizer", list(OPTIMIZERS)),
        )

    def build(self, images: Images, seed: int) -> nn.Sequential:
        """The network at its initialization."""
        return networks.mlp(
            images.train[0].numel(),
            int(images.train_labels.max()) + 1,
            depth=self.depth,
            width=self.width,
            activation=self.activation,
            weight_variance=self.weight_variance,
            bias_variance=self.bias_variance,
            seed=seed,
        )

    def train(self, model: nn.Module, images: Images, epochs: int, seed: int) -> Iterator[float]:
        """Train in place; yields the test accuracy after each epoch."""
        optimizer = OPTIMIZERS[self.optimizer](model.parameters(), lr=self.learning_rate)
        generator = torch.Generator().manual_seed(seed)
        for _ in range(epochs):
            for batch in torch.randperm(len(images.train), generator=generator).split(BATCH_SIZE):
                logits = model(images.train[batch])
                loss = nn.functional.cross_entropy(logits, images.train_labels[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            yield _accuracy(model, images.test, images.test_labels)


@torch.no_grad()
def _accuracy(model: nn.Module, samples: Tensor, labels: Tensor) -> float:
    return float((model(samples).argmax(dim=1) == labels).float().mean())
