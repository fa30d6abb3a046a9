"""Really train a network, to know what was to be predicted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from recent_prune.data import Images


@dataclass(frozen=True)
class Training:
    """How networks are trained.

    Attributes:
        epochs: At most. The paper has 200.
        samples: Of the training set, at most.
        learning_rate: Of the optimizer. The paper has 1e-3.
        batch_size: The paper has 64.
        enough: Test accuracy above which a network counts as trained, and training ends; the
            paper's.
        optimizer: The paper has SGD, without momentum.
    """

    epochs: int
    samples: int
    learning_rate: float
    batch_size: int = 64
    enough: float = 0.4
    optimizer: Literal["sgd", "adam"] = "sgd"


LOSSES = ("paper", "plain")
"""The paper's outputs go through tanh and softmax before the cross-entropy, which has a softmax of
its own; plain ones are logits."""


def accuracy_reached(
    model: nn.Module, images: Images, training: Training, loss: str, device: torch.device
) -> float:
    """Best test accuracy over the epochs, until it is enough.

    A data set with fewer images than `training` asks for is gone through more often, for as many
    updates.
    """
    images = images.head(training.samples, 1000)
    model = model.to(device)
    x, y = images.train.to(device), images.train_labels.to(device)
    test, expected = images.test.to(device), images.test_labels.to(device)
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[training.optimizer]
    optimizer = kind(model.parameters(), training.learning_rate)
    generator = torch.Generator().manual_seed(0)
    best = 0.0
    for _ in range(round(training.epochs * training.samples / len(x))):
        for batch in torch.randperm(len(x), generator=generator).split(training.batch_size):
            optimizer.zero_grad()
            nn.functional.cross_entropy(_outputs(model(x[batch]), loss), y[batch]).backward()
            optimizer.step()
        with torch.no_grad():
            found = float((model(test).argmax(1) == expected).float().mean())
        best = max(best, found)
        if best > training.enough:
            break
    return best


def _outputs(logits: Tensor, loss: str) -> Tensor:
    return logits.tanh().softmax(dim=1) if loss == "paper" else logits
