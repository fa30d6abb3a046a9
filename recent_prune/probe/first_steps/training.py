"""What the user's training loop does with a batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import KW_ONLY, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from recent_prune.probe.batches.calling import Call

Loss = Callable[[Any, Any], Tensor]
"""From the model's output and the target to a scalar, such as a cross-entropy."""

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]
"""From a model's parameters to an optimizer, such as ``lambda p: torch.optim.Adam(p, 1e-3)``."""

SchedulerFactory = Callable[[Optimizer], LRScheduler]
"""From an optimizer to its schedule."""

STEPS = 6
"""Updates by default. ``benchmarks/prediction``: four rank other tasks worse, eight cost more than
a hundredth of an epoch of 60,000 samples."""

BATCH_SIZE = 64
"""Samples a step where tensors are given instead of batches."""


@dataclass(frozen=True, eq=False)
class Training:
    """How a trial trains, so that a probe can make its first steps.

    The steps are those of the user's own loop: its batches, loss, optimizer and rate, in training
    mode. They are made where the model lies and undone afterwards, bit for bit (see
    :mod:`recent_prune.probe.restoring`).

    A learning rate with **warm-up** says nothing at its start: the steps are made at the largest
    rate that the schedule reaches. That is ``learning_rate``, if given; else what ``scheduler``
    reaches within the budget; else, where a schedule is attached to the optimizer, the rate it was
    built around (``initial_lr``, or ``max_lr`` of a one-cycle schedule); else the optimizer's.

    Attributes:
        loss: ``loss(output, target)``, a scalar; None where the model returns its own, or ``call``
            does.
        optimizer: One over the model's parameters, which comes back as it was; or a function from
            the parameters to one.
        steps: Updates, ≥ 1. Default 6, from ``benchmarks/prediction``.
        budget: Steps of the full training, ≥ ``steps``. None (default) where unknown: then no
            trial is condemned for being slow.
        scheduler: A schedule over the optimizer, or a function from the optimizer to one. It is
            read, never stepped. Default: none.
        learning_rate: The largest rate, where the schedule is none of PyTorch's. With several
            parameter groups, that of the group with the largest; the others keep their ratio.
        clip_norm: Largest norm of the gradient, as of ``torch.nn.utils.clip_grad_norm_``. Default:
            none.
        accumulate: Batches a step, whose gradients are averaged. Default 1.
        autocast: Data type of mixed precision, such as ``torch.bfloat16``. Default: none, or the
            caller's own autocast where the probe runs inside of one.
        scaler: The loop's gradient scaler, which comes back as it was. A step that it skips, since
            its scale has not come down yet, is made again. Default: none.
        call: ``call(model, batch)``, how the loop calls the model, where the conventions of
            :mod:`recent_prune.probe.batches.calling` do not fit; it returns the output, or the loss
            where ``loss`` is None. With ``loss`` the target is taken from the batch as by default;
            where that has none, ``call`` returns (output, target).
        batch_size: Of tensors, ``(inputs, targets)``, that are given instead of batches. Default
            64.
        before: Whether to probe before the steps as well, for ``result.before``. Default: no.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If a number is out of its range.

    Example:
        >>> import torch, recent_prune as rp
        >>> from recent_prune.data import load_digits
        >>> digits = load_digits()
        >>> training = rp.Training(
        ...     torch.nn.functional.cross_entropy, lambda p: torch.optim.SGD(p, 100.0), budget=300
        ... )
        >>> model = rp.networks.mlp(64, 10, depth=3, width=32)
        >>> batches = (digits.train, digits.train_labels)
        >>> result = rp.probe(model, batches, training=training)
        >>> result.steps.loss_after > result.steps.loss_before
        True
    """

    loss: Loss | None
    optimizer: Optimizer | OptimizerFactory
    _: KW_ONLY
    steps: int = STEPS
    budget: int | None = None
    scheduler: LRScheduler | SchedulerFactory | None = None
    learning_rate: float | None = None
    clip_norm: float | None = None
    accumulate: int = 1
    autocast: torch.dtype | None = None
    scaler: torch.amp.GradScaler | None = None
    call: Call | None = None
    batch_size: int = BATCH_SIZE
    before: bool = False

    def __post_init__(self) -> None:
        for name, optional in (("loss", True), ("optimizer", False), ("call", True)):
            _check_function(name, getattr(self, name), optional=optional)
        if not isinstance(self.scheduler, LRScheduler):
            _check_function("scheduler", self.scheduler, optional=True)
        for name in ("steps", "accumulate", "batch_size"):
            _check_count(name, getattr(self, name))
        if self.budget is not None:
            _check_count("budget", self.budget)
            if self.steps > self.budget:
                raise ValueError(
                    f"`steps` must be at most `budget`, the steps of the full training, but got "
                    f"{self.steps} and {self.budget}."
                )
        for name in ("learning_rate", "clip_norm"):
            _check_positive(name, getattr(self, name))


def _check_function(name: str, value: object, *, optional: bool) -> None:
    if value is None and optional:
        return
    if name == "optimizer" and isinstance(value, Optimizer):
        return
    if not callable(value) or isinstance(value, type):
        hint = ""
        if isinstance(value, type) and issubclass(value, Optimizer):
            hint = f": give lambda parameters: {value.__name__}(parameters, …)"
        elif isinstance(value, type):
            hint = f": give {value.__name__}(…), an instance"
        raise TypeError(f"`{name}` must be a function or an object, but got {value!r}{hint}.")


def _check_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"`{name}` must be an integer ≥ 1, but got {value!r}.")


def _check_positive(name: str, value: object) -> None:
    if value is None:
        return
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 < value < math.inf:  # type: ignore[operator]
        raise ValueError(f"`{name}` must be a positive number, but got {value!r}.")
