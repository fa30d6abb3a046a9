"""What an architecture of the zoo is: how it is built, fed and trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

import recent_prune as rp

Batches = Callable[[int], list[Any]]
"""From 0 (to train and to probe) or 1 (fresh ones, to judge a real training) to batches."""

Call = Callable[[nn.Module, Any], Any]
Loss = Callable[[Any, Any], Tensor]
OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]

BUDGET = 1000
"""Steps that each trial is said to have."""


@dataclass(frozen=True)
class Entry:
    """One architecture.

    Attributes:
        name: Unique among all.
        source: The library, or ``"own"`` or ``"graphs"``.
        family: Such as ``"convolutional"``.
        build: Makes it, at random initialization.
        batches: As a data loader would yield them, see `Batches`.
        training: Its usual loss and optimizer.
        call: Of the probe without training, where the conventions do not fit.
        confirm: Whether it is small enough to be really trained by ``--confirm``.
    """

    name: str
    source: str
    family: str
    build: Callable[[], nn.Module]
    batches: Batches
    training: rp.Training
    call: Call | None = None
    confirm: bool = False

    @property
    def called(self) -> str:
        """How, in a few words."""
        kind = type(self.training.call or self.call).__name__
        how = "its own `call`" if kind != "NoneType" else "by the conventions"
        return f"{how}, {'its own loss' if self.training.loss is None else 'a loss'}"


def sgd(
    rate: float, momentum: float = 0.9, decay: float = 1e-4, *, nesterov: bool = False
) -> OptimizerFactory:
    """Stochastic gradient descent as convolutional networks are trained."""
    return lambda parameters: torch.optim.SGD(
        parameters, rate, momentum, weight_decay=decay, nesterov=nesterov
    )


def adam(rate: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999)) -> OptimizerFactory:
    """Adam at its default rate."""
    return lambda parameters: torch.optim.Adam(parameters, rate, betas)


def adamw(rate: float, decay: float = 0.01) -> OptimizerFactory:
    """AdamW, the usual one of transformers."""
    return lambda parameters: torch.optim.AdamW(parameters, rate, weight_decay=decay)


def training(
    loss: Loss | None, optimizer: OptimizerFactory, call: Call | None = None, **others: Any
) -> rp.Training:
    """Such a trial, with the zoo's budget."""
    return rp.Training(loss, optimizer, budget=BUDGET, call=call, **others)


def unique(entries: Sequence[Entry]) -> dict[str, Entry]:
    """By name.

    Raises:
        ValueError: If a name comes twice.
    """
    found: dict[str, Entry] = {}
    for entry in entries:
        if entry.name in found:
            raise ValueError(f"Two entries are called {entry.name!r}.")
        found[entry.name] = entry
    return found
