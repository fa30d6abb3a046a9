"""A task: a data set, and what is asked of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Kind = Literal["classes", "values", "bits"]
IGNORED = -100
"""Target of positions that do not count, PyTorch's default."""

IMAGES = ("mlp", "deep mlp", "cnn", "residual cnn", "vit")
TABLES = ("mlp", "deep mlp", "residual mlp")
SEQUENCES = ("gru", "lstm", "transformer", "cnn1d")


@dataclass(frozen=True)
class Task:
    """A data set and what is asked of it.

    Attributes:
        name: Of the task.
        data: Of the data set it is made from.
        kind: ``"classes"`` (cross-entropy, over positions where there are any), ``"values"`` (mean
            square) or ``"bits"`` (binary cross-entropy).
        train: Inputs [n, …] and targets [n, …].
        test: Likewise.
        outputs: Numbers that the model gives for a sample, or for a position of one.
        families: Of networks that learn it, keys of ``families.FAMILIES``.
        vocabulary: Number of tokens, 0 where the inputs are numbers.
    """

    name: str
    data: str
    kind: Kind
    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    outputs: int
    families: tuple[str, ...]
    vocabulary: int = 0

    @property
    def loss(self) -> Callable[[Tensor, Tensor], Tensor]:
        """From outputs and targets to the mean loss, nats or squared units."""
        losses: dict[Kind, Callable[[Tensor, Tensor], Tensor]] = {
            "classes": _cross_entropy,
            "values": F.mse_loss,
            "bits": F.binary_cross_entropy_with_logits,
        }
        return losses[self.kind]

    def accuracy(self, output: Tensor, target: Tensor) -> float:
        """Share of right answers; for values the share of their variance that is explained."""
        if self.kind == "classes":
            counted = target != IGNORED
            return float((output.argmax(-1) == target)[counted].float().mean())
        if self.kind == "bits":
            return float(((output > 0) == (target > 0.5)).float().mean())
        return 1 - float(F.mse_loss(output, target)) / self.constant[0]

    @property
    def constant(self) -> tuple[float, float]:
        """Loss and accuracy of the best constant prediction on the test samples."""
        return _constant(self)


def _cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(output.flatten(0, -2), target.flatten(), ignore_index=IGNORED)


def _constant(task: Task) -> tuple[float, float]:
    target = task.test[1]
    if task.kind == "classes":
        shares = torch.bincount(target[target != IGNORED], minlength=task.outputs).double()
        shares = shares / shares.sum()
        return float(-torch.xlogy(shares, shares).sum()), float(shares.max())
    if task.kind == "bits":
        share = float(target.double().mean())
        entropy = -share * math.log(share) - (1 - share) * math.log(1 - share)
        return entropy, max(share, 1 - share)
    return float((target - target.mean(0)).double().square().mean()), 0.0


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def classes(name: str, data: str, x: Tensor, y: Tensor, xt: Tensor, yt: Tensor) -> Task:
    outputs = int(y.max()) + 1
    families = IMAGES if x.dim() == 4 else TABLES
    return Task(name, data, "classes", (x, y), (xt, yt), outputs, families)
