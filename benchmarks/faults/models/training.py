"""Random ways to train: losses, optimizers, schedules, and what they do wrong."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

import recent_prune as rp
from benchmarks.faults.models.fuses import Fuse
from benchmarks.faults.models.networks import CLASSES, Drawn

LOSSES = (
    *("classes", "classes", "classes", "classes", "squares", "squares", "learns", "learns"),
    *("vector", "number", "negative"),
)
"""Cross-entropy, squared error, one with a parameter and a buffer of its own, one that forgets the
mean, one that returns a plain number, and one without a lower bound."""

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "SGD": torch.optim.SGD,
    "momentum": lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9, nesterov=True),
    "Adam": torch.optim.Adam,
    "AdamW": torch.optim.AdamW,
    "RMSprop": torch.optim.RMSprop,
    "Adagrad": torch.optim.Adagrad,
    "LBFGS": lambda p, lr: torch.optim.LBFGS(p, lr, max_iter=2),
}
RATES = (1e-4, 1e-2, 0.1, 1.0, 1e3, 1e30)


class Loss(nn.Module):
    """A fuse in a loss, which may learn and count itself."""

    calls: Tensor

    def __init__(self, kind: str, fuse: Fuse) -> None:
        super().__init__()
        self.kind, self.fuse = kind, fuse
        self.scale = nn.Parameter(torch.ones(())) if kind == "learns" else None
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, output: Any, target: Tensor) -> Any:
        """A scalar, unless it is of an odd kind."""
        self.fuse.raising("loss")
        if isinstance(output, (tuple, dict)):
            output = output["logits"] if isinstance(output, dict) else output[0]
        return self.fuse.spoiled("loss", self._of(output, target))

    def _of(self, output: Tensor, target: Tensor) -> Any:
        if self.scale is not None:
            self.calls += 1
            return cross_entropy(output * self.scale, target)
        if self.kind == "squares":
            return (output - one_hot(target % CLASSES, CLASSES)).square().mean()
        if self.kind == "negative":
            return -output.float().square().sum()
        loss = cross_entropy(output, target, reduction="none" if self.kind == "vector" else "mean")
        return torch.tensor(float(loss)) if self.kind == "number" else loss


def _groups(model: nn.Module, kind: str) -> Any:
    """Parameters, in one group, or in two with rates of their own."""
    parameters = list(model.parameters())
    if kind == "LBFGS" or len(parameters) < 2:
        return parameters
    return [{"params": parameters[:1], "lr": 1e-3}, {"params": parameters[1:]}]


def drawn_optimizer(draw: random.Random, model: Drawn, fuse: Fuse) -> Any:
    """An optimizer, or a function that makes one."""
    kind, rate, split = draw.choice(list(OPTIMIZERS)), draw.choice(RATES), draw.random() < 0.3

    def made(parameters: Any) -> torch.optim.Optimizer:
        fuse.raising("factory")
        own = _groups(model, kind) if split else list(parameters)
        optimizer = OPTIMIZERS[kind](own, lr=rate)
        _fused(optimizer, model, fuse)
        return optimizer

    early = draw.random() < 0.5 and not any(map(_is_lazy, model.parameters()))
    return made(model.parameters()) if early else made


def _fused(optimizer: torch.optim.Optimizer, model: nn.Module, fuse: Fuse) -> None:
    """Let a fuse burn in hooks of a step, when some parameters are changed already."""
    if fuse.place == "step hook":
        optimizer.register_step_pre_hook(lambda *_: fuse.raising("step hook"))
    if fuse.place == "step":

        def changed(*_: object) -> None:
            fuse.raising("step")
            with torch.no_grad():
                parameter = next(model.parameters())
                parameter.copy_(fuse.spoiled("step", parameter.detach()))

        optimizer.register_step_post_hook(changed)


def drawn_training(draw: random.Random, model: Drawn, fuse: Fuse) -> rp.Training:
    """How a trial trains, most of them for one to three steps."""
    own_loss = "own loss" in model.quirks
    optimizer = drawn_optimizer(draw, model, fuse)
    if isinstance(optimizer, torch.optim.Optimizer) and draw.random() < 0.5:
        _resumed(optimizer)
    chosen: dict[str, Any] = {
        "steps": draw.randint(1, 3),
        "budget": draw.choice((None, 50)),
        "clip_norm": draw.choice((None, None, 0.5)),
        "accumulate": draw.choice((1, 1, 2)),
        "autocast": draw.choice((None, None, None, torch.bfloat16)),
        "scaler": torch.amp.GradScaler("cpu") if draw.random() < 0.1 else None,
        "before": draw.random() < 0.2,
        "batch_size": 8,
    }
    if draw.random() < 0.2 or fuse.place == "scheduler":
        chosen |= {"scheduler": _schedule(optimizer, fuse), "budget": 50}
    loss = None if own_loss else Loss(draw.choice(LOSSES), fuse)
    return rp.Training(loss, optimizer, **chosen)


def _resumed(optimizer: torch.optim.Optimizer) -> None:
    """Steps that were made already."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    if isinstance(optimizer, torch.optim.LBFGS) or any(map(_is_lazy, parameters)):
        return
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, 1e-3)
    hooks = dict(optimizer._optimizer_step_post_hooks), dict(optimizer._optimizer_step_pre_hooks)
    optimizer._optimizer_step_post_hooks.clear()
    optimizer._optimizer_step_pre_hooks.clear()
    with suppress(RuntimeError):  # float16 may be unable to hold the rate
        optimizer.step()
    optimizer._optimizer_step_post_hooks.update(hooks[0])
    optimizer._optimizer_step_pre_hooks.update(hooks[1])


def _is_lazy(parameter: Tensor) -> bool:
    return isinstance(parameter, nn.UninitializedParameter)


def _schedule(optimizer: Any, fuse: Fuse) -> Any:
    def made(over: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        fuse.raising("scheduler")
        return torch.optim.lr_scheduler.LambdaLR(over, lambda step: min(1.0, (step + 1) / 5))

    given = isinstance(optimizer, torch.optim.Optimizer) and fuse.place != "scheduler"
    return made(optimizer) if given else made
