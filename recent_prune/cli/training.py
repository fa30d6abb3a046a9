"""How a trial trains, from the options of a command line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import Optimizer

from recent_prune.cli.factory import FORM, arguments, found_in, named
from recent_prune.probe import Training
from recent_prune.probe.first_steps.training import BATCH_SIZE, STEPS, Loss

OWN = "none"
"""The loss of a model that returns its own."""


def training(
    optimizer: str,
    *,
    loss: str | None = None,
    learning_rate: float | None = None,
    settings: Sequence[str] = (),
    batch_size: int | None = None,
    steps: int | None = None,
    budget: int | None = None,
    call: str | None = None,
) -> Training:
    """The training that the options describe.

    Args:
        optimizer: Name of one in ``torch.optim``, in any case, or ``module:name``.
        loss: Name of a function of ``torch.nn.functional``, ``module:name``, or ``none``. Default:
            ``cross_entropy``.
        learning_rate: Default: the optimizer's own.
        settings: Further arguments of the optimizer, ``name=value``.
        batch_size: As of :class:`Training`.
        steps: Default: as of :class:`Training`, and at most ``budget``.
        budget: As of :class:`Training`.
        call: ``module:name`` of a function of model and batch. Default: the conventions.

    Raises:
        ValueError: If a name is unknown, or a number out of its range.
    """
    made = steps or (STEPS if budget is None else min(STEPS, budget))
    return Training(
        _loss(loss or "cross_entropy"),
        _optimizer(optimizer, learning_rate, arguments(settings, "--optimizer-arg")),
        steps=made,
        budget=budget,
        batch_size=batch_size or BATCH_SIZE,
        call=None if call is None else named(call, "--call"),
    )


def _loss(text: str) -> Loss | None:
    if text == OWN:
        return None
    if ":" in text:
        found = found_in(text, "--loss")
        if isinstance(found, type) and issubclass(found, nn.Module):
            found = found()
    else:
        found = None if text.startswith("_") else getattr(F, text, None)
    if not callable(found) or isinstance(found, type):
        raise ValueError(
            f"--loss must be a function of torch.nn.functional such as cross_entropy, {FORM}, or "
            f"{OWN} for a model that returns its own, but got {text}"
        )
    loss: Loss = found
    return loss


def _optimizer(
    text: str, learning_rate: float | None, settings: Mapping[str, Any]
) -> Callable[[Iterable[nn.Parameter]], Optimizer]:
    known = {
        name.lower(): kind
        for name, kind in vars(torch.optim).items()
        if isinstance(kind, type) and issubclass(kind, Optimizer) and kind is not Optimizer
    }
    make = found_in(text, "--optimizer") if ":" in text else known.get(text.lower())
    if not callable(make):
        raise ValueError(
            f"--optimizer must be one of {', '.join(sorted(known))}, or {FORM}, but got {text}"
        )
    rate: dict[str, Any] = {} if learning_rate is None else {"lr": learning_rate}
    if "lr" in settings and rate:
        raise ValueError("--learning-rate and --optimizer-arg lr=… are given, but mean the same")

    def made(parameters: Iterable[nn.Parameter]) -> Optimizer:
        try:
            optimizer = make(parameters, **rate, **settings)
        except Exception as error:
            raise ValueError(
                f"--optimizer {text} raised {type(error).__name__}: {error} (arguments: "
                "--learning-rate, --optimizer-arg NAME=VALUE)"
            ) from error
        if not isinstance(optimizer, Optimizer):
            raise ValueError(
                f"--optimizer must make a torch.optim.Optimizer, but {text} made "
                f"{type(optimizer).__name__}"
            )
        return optimizer

    return made
