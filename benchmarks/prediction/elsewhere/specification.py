"""The trials: networks, optimizers and schedules that nothing was fitted to."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler, OneCycleLR

from benchmarks.prediction.elsewhere.parts import ACTIVATIONS
from benchmarks.prediction.elsewhere.tasks import TASKS, task
from benchmarks.prediction.trials.specification import log_uniform, shuffled
from benchmarks.prediction.trials.tasks import Task

OPTIMIZERS = (
    *("nadam", "radam", "adagrad", "adamax", "rmsprop momentum"),
    *("momentum cosine", "adamw one cycle", "adam warm-up"),
)


@dataclass(frozen=True)
class Specification:
    """One trial.

    Attributes:
        index: Its number, and the seed of its weights and of the order of its batches.
        task: Key of ``tasks.TASKS``.
        family: Key of ``networks.FAMILIES``.
        depth: Layers or blocks.
        width: Units or channels of each.
        activation: Key of ``networks.ACTIVATIONS``.
        norm: ``"none"``, ``"batch"`` or ``"group"``; of sequences and gated layers either is RMS.
        dropout: Share, 0 for none.
        branch_scale: Of residual branches at the start.
        gain: By which PyTorch's default weights are multiplied.
        zero_head: Whether the last layer starts at zero.
        optimizer: One of `OPTIMIZERS`, with its schedule.
        learning_rate: The largest.
        weight_decay: As the optimizer takes it.
        clip_norm: Largest norm of the gradient, None for any.
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
    branch_scale: float
    gain: float
    zero_head: bool
    optimizer: str
    learning_rate: float
    weight_decay: float
    clip_norm: float | None
    batch_size: int
    budget: int

    def make_optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Over a model's parameters."""
        rate, decay = self.learning_rate, self.weight_decay
        kinds: dict[str, type[torch.optim.Optimizer]] = {
            "nadam": torch.optim.NAdam,
            "radam": torch.optim.RAdam,
            "adagrad": torch.optim.Adagrad,
            "adamax": torch.optim.Adamax,
            "adamw one cycle": torch.optim.AdamW,
            "adam warm-up": torch.optim.Adam,
        }
        if self.optimizer in kinds:
            return kinds[self.optimizer](parameters, lr=rate, weight_decay=decay)  # type: ignore[call-arg]
        if self.optimizer == "rmsprop momentum":
            return torch.optim.RMSprop(parameters, rate, momentum=0.9, weight_decay=decay)
        return torch.optim.SGD(parameters, rate, momentum=0.95, weight_decay=decay)

    def make_schedule(self, optimizer: torch.optim.Optimizer) -> LRScheduler:
        """Of the learning rate, stepped after each update."""
        if self.optimizer == "momentum cosine":
            return CosineAnnealingLR(optimizer, self.budget)
        if self.optimizer == "adamw one cycle":
            return OneCycleLR(optimizer, self.learning_rate, total_steps=self.budget + 1)
        if self.optimizer == "adam warm-up":
            return LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / (0.1 * self.budget)))
        return LambdaLR(optimizer, lambda _: 1.0)

    def batches(self, of: Task) -> Iterator[tuple[Tensor, Tensor]]:
        """Shuffled epochs without an end, each without its last incomplete batch."""
        return shuffled(of, self.batch_size, self.index)


def sample(count: int, root: Path, seed: int = 2026) -> list[Specification]:
    """So many trials; the first ones of a longer sample are those of a shorter one."""
    draw = random.Random(seed)
    return [_drawn(draw, index, task(draw.choice(list(TASKS)), root)) for index in range(count)]


def _drawn(draw: random.Random, index: int, of: Task) -> Specification:
    family = draw.choice(of.families)
    images, alone = of.train[0].dim() == 4, of.train[0].dim() == 2 and not of.vocabulary
    return Specification(
        index=index,
        task=of.name,
        family=family,
        depth=round(log_uniform(draw, 1, 10 if alone else 6)),
        width=draw.choice([8, 16] if images else [16, 32, 64]),
        activation=draw.choice(list(ACTIVATIONS)),
        norm=draw.choice(["none", "batch", "group"]),
        dropout=draw.choice([0.0, 0.0, 0.2]),
        branch_scale=draw.choice([1.0, 1.0, 1.0, 0.1, 1e-4]),
        gain=draw.choice([1.0, 1.0, 1.0, log_uniform(draw, 0.3, 4)]),
        zero_head=draw.random() < 0.1,
        optimizer=draw.choice(OPTIMIZERS),
        learning_rate=log_uniform(draw, 1e-5, 1.0),
        weight_decay=draw.choice([0.0, 0.0, log_uniform(draw, 1e-6, 1e-2)]),
        clip_norm=draw.choice([None, None, 1.0]),
        batch_size=draw.choice([16, 32, 64]),
        budget=round(log_uniform(draw, 100, 400 if images else 1200 if alone else 600)),
    )
