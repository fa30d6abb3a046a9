"""The first updates, and what is seen while they are made."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from recent_prune.probe.batches.raising import raising
from recent_prune.probe.first_steps.objective import Objective
from recent_prune.probe.first_steps.optimizers import asks_for_closure, needs_closure
from recent_prune.probe.first_steps.training import Training
from recent_prune.probe.quantities.gradients import GradientProfile, LayerWeights
from recent_prune.probe.quantities.moves import Move, as_real, moves
from recent_prune.probe.restoring.devices import SOLVING
from recent_prune.probe.restoring.tensors import changed
from recent_prune.probe.restoring.training_state import Values

MOST_SKIPPED = 32
"""How often a step is made again that a gradient scaler skipped: from 2¹⁶ down to 2⁻¹⁶."""


@dataclass
class Trace:
    """What is seen on the way.

    Attributes:
        losses: Of each step's batch before its update.
        gradient_norms: Of each step, before clipping.
        weight: Norm of the parameters that train, before.
        first_update: Norm of the first update.
        update: Norm of all updates together.
        first_order: −⟨gradient, update⟩ of the first step.
        unreached: Share of the parameters that train to which no gradient came.
        gradients: How those of the first step arrived at the layers.
        update_ratios: Of each of these layers, of all updates together over its weights.
        seconds: Of each step after the first, which warms up.
    """

    losses: list[float] = field(default_factory=list)
    gradient_norms: list[float] = field(default_factory=list)
    weight: float = math.nan
    first_update: float = math.nan
    update: float = math.nan
    first_order: float = math.nan
    unreached: float = math.nan
    gradients: GradientProfile | None = None
    update_ratios: tuple[float, ...] = ()
    seconds: tuple[float, ...] = ()


def make_steps(
    model: nn.Module,
    optimizer: Optimizer,
    batches: Sequence[Any],
    ask: Objective,
    training: Training,
    before: Values,
) -> Trace:
    """Train for ``training.steps`` updates, as the user's loop does.

    Args:
        model: In training mode; changed.
        optimizer: Over its parameters; changed.
        batches: ``steps × accumulate`` of them, fewer are gone through again.
        ask: See `objective`.
        training: See :class:`Training`.
        before: Values of the parameters before the steps, by their id.

    Raises:
        ValueError: If the loss does not depend on a parameter that the optimizer trains.
        Exception: Whatever model, loss and optimizer raise, with a note that names the step.
    """
    loop = _Loop(model, optimizer, batches, ask, training, before)
    layers = LayerWeights(model)
    # A model may replace its parameters as it runs: the optimizer's are meant.
    known = [p for p in model.parameters() if p.requires_grad and id(p) in before]
    parameters = [*loop.trained, *known]
    trace, losses, norms, seconds = Trace(), [], [], []
    for number in range(training.steps):
        seen = layers.watched() if number == 0 else nullcontext()
        start = _now(parameters[0].device)
        with raising(f"the probe, in first step {number + 1} of {training.steps}"), seen:
            loss, norm = loop.step(number)
        seconds.append(_now(parameters[0].device) - start)
        losses.append(loss)
        norms.append(norm)
        if number == 0:
            found = moves(parameters, loop.base)
            trace.gradients = layers.profile(found, float(loss))
            _first_update(trace, [found[id(p)] for p in loop.trained], loop.clipped_to(norm))
    if training.steps > 1:
        found = moves(parameters, loop.base, gradients=False)
    trace.update_ratios = layers.update_ratios(found)
    trace.update = _hypot(found[id(p)].update for p in loop.trained)
    trace.seconds = tuple(seconds[1:])
    # All at once: on a GPU every transfer waits.
    trace.losses = torch.stack(losses).tolist()
    trace.gradient_norms = torch.stack(norms).tolist()
    return trace


WAITED_FOR = ("cuda", "xpu", "mps")
"""Devices that work on while Python goes on; other backends may be unable to wait."""


def _now(device: torch.device) -> float:
    """Seconds, when what was launched has run."""
    if device.type in WAITED_FOR:
        torch.accelerator.synchronize(device)
    return time.perf_counter()


class _Loop:
    """One update after the other."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        batches: Sequence[Any],
        ask: Objective,
        training: Training,
        before: Values,
    ) -> None:
        self.base = before
        self.trained = [
            p for group in optimizer.param_groups for p in group["params"] if p.requires_grad
        ]
        self._model = model
        self._optimizer = optimizer
        self._batches = batches
        self._ask = ask
        self._training = training

    def step(self, number: int) -> tuple[Tensor, Tensor]:
        """Make one; the gradient of the first is at the parameters afterwards.

        One that the scaler skips, since its scale is too large yet, is made again with a smaller.

        Returns:
            Loss before the update, and the norm of its gradient.
        """
        size = self._training.accumulate
        places = range(number * size, (number + 1) * size)
        part = [self._batches[place % len(self._batches)] for place in places]
        for _ in range(MOST_SKIPPED):
            loss, norm, taken = self._update(part, keep=number == 0)
            if taken or not bool(loss.isfinite()):
                break
        return loss, norm

    def clipped_to(self, norm: Tensor) -> float:
        """By what the gradient was multiplied when it was clipped."""
        most = self._training.clip_norm
        return 1.0 if most is None else min(1.0, most / (float(norm) + 1e-6))

    def _update(self, part: Sequence[Any], keep: bool) -> tuple[Tensor, Tensor, bool]:
        """Loss, norm of the gradient, and whether the scaler let the optimizer step."""
        seen: list[tuple[Tensor, Tensor]] = []
        gradients: list[Tensor | None] = []
        copied = keep and _writes_to_gradients(self._optimizer)

        def closure() -> Tensor:
            seen.append(self._backward(part))
            if keep and not gradients:
                self.base = self._without_initialization()
            if not gradients:  # those of the first call, where there are several
                found = (p.grad for p in self.trained)
                gradients.extend(g.clone() if copied and g is not None else g for g in found)
            return seen[-1][0]

        scaler, taken = self._training.scaler, True
        if needs_closure(self._optimizer):
            with raising("`optimizer.step(closure)`", *part):
                self._optimizer.step(closure)  # type: ignore[arg-type]
        else:
            closure()
            with raising("`optimizer.step()`", *part):
                if scaler is None:
                    self._step(closure)
                else:
                    scale = scaler.get_scale()
                    scaler.step(self._optimizer)
                    scaler.update()
                    taken = scaler.get_scale() >= scale
        if keep:
            for parameter, gradient in zip(self.trained, gradients, strict=True):
                parameter.grad = gradient
        return *seen[0], taken

    def _without_initialization(self) -> Values:
        """Values before the first update: some models set their weights as they first run."""
        known = [p for p in self._model.parameters() if id(p) in self.base]
        pairs = [(p.detach(), self.base[id(p)]) for p in known]
        other = {id(now) for now, _ in changed([pair for pair in pairs if _lie_alike(*pair)])}
        return self.base | {
            id(p): now.clone() for p, (now, _) in zip(known, pairs, strict=True) if id(now) in other
        }

    def _step(self, closure: Callable[[], Tensor]) -> None:
        try:
            self._optimizer.step()
        except Exception as error:
            if not asks_for_closure(self._optimizer, error):
                raise
            self._optimizer.step(closure)  # type: ignore[arg-type]

    def _backward(self, part: Sequence[Any]) -> tuple[Tensor, Tensor]:
        training, device = self._training, self.trained[0].device
        for parameter in self._model.parameters():
            parameter.grad = None
        total = _precise(torch.zeros((), device=device))
        for batch in part:
            with torch.enable_grad():
                loss = self._ask(self._model, batch).loss
                with raising("the backward pass", batch):
                    if not loss.requires_grad:
                        raise ValueError(
                            "`loss` must depend on a parameter that trains, but has no gradient."
                        )
                    scaled = loss if training.scaler is None else training.scaler.scale(loss)
                    (scaled / len(part)).backward()
            total = total + _precise(loss.detach()).to(device) / len(part)
        with raising("the backward pass", *part):
            if all(parameter.grad is None for parameter in self.trained):
                raise ValueError(
                    "`loss` must depend on a parameter that the optimizer trains, but none got a "
                    "gradient."
                )
            if training.scaler is not None:
                training.scaler.unscale_(self._optimizer)
        norm = _norm([p.grad for p in self.trained if p.grad is not None])
        if training.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.trained, training.clip_norm)
        return total, norm


def _writes_to_gradients(optimizer: Optimizer) -> bool:
    """Whether ``step`` may leave something else in ``.grad`` than what it was given."""
    if not type(optimizer).__module__.startswith("torch.optim."):
        return True
    nesterov = any(group.get("nesterov") for group in optimizer.param_groups)
    return nesterov or isinstance(optimizer, torch.optim.Adamax)


def _first_update(trace: Trace, trained: Sequence[Move], clipped: float) -> None:
    trace.weight = _hypot(move.weight for move in trained)
    trace.first_update = _hypot(move.update for move in trained)
    product = sum(move.product for move in trained)
    trace.first_order = -product / clipped if clipped > 0 else math.nan
    arrived = sum(move.count for move in trained if move.gradient != 0)
    trace.unreached = 1 - arrived / sum(move.count for move in trained)


def _hypot(norms: Iterable[float]) -> float:
    """Over all parameters; infinite where one is not finite."""
    norm = math.hypot(*norms)
    return norm if math.isfinite(norm) else math.inf


def _float(tensor: Tensor) -> Tensor:
    return as_real(tensor).float()


def _precise(tensor: Tensor) -> Tensor:
    """In float64, where the device has it."""
    return tensor.double() if tensor.device.type in SOLVING else tensor.float()


def _norm(gradients: Sequence[Tensor]) -> Tensor:
    """Over all parameters; what sparse gradients hold counts once."""
    values = [g.coalesce().values() if g.is_sparse else g for g in gradients]
    norms = _norms([_float(value) for value in values])
    if not bool(norms.isfinite()):  # squares of large numbers are infinite in float32
        norms = _norms([_precise(as_real(value)) for value in values])
    return _precise(norms)


def _norms(values: Sequence[Tensor]) -> Tensor:
    each = [torch.linalg.vector_norm(value).to(values[0].device) for value in values]
    total: Tensor = torch.linalg.vector_norm(torch.stack(each))
    return total


def _lie_alike(one: Tensor, other: Tensor) -> bool:
    """Whether both can be compared where they lie: a large model's values wait in main memory."""
    return (one.device, one.dtype, one.shape) == (other.device, other.dtype, other.shape)
