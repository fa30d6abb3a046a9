"""The first updates, and what is seen while they are made."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from recent_prune.probe.first_steps.objective import Objective, described
from recent_prune.probe.first_steps.optimizers import needs_closure
from recent_prune.probe.first_steps.training import Training
from recent_prune.probe.quantities.gradients import GradientProfile, LayerWeights
from recent_prune.probe.restoring.training_state import Values


@dataclass
class Trace:
    """What is seen on the way.

    Attributes:
        losses: Of each step's batch before its update.
        gradient_norms: Of each step, before clipping.
        first_update: Norm of the first update.
        first_order: −⟨gradient, update⟩ of the first step.
        unreached: Share of the parameters that train to which no gradient came.
        gradients: How those of the first step arrived at the layers.
        update_ratios: Of each of these layers, of all updates together over its weights.
    """

    losses: list[float] = field(default_factory=list)
    gradient_norms: list[float] = field(default_factory=list)
    first_update: float = math.nan
    first_order: float = math.nan
    unreached: float = math.nan
    gradients: GradientProfile | None = None
    update_ratios: tuple[float, ...] = ()


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
    loop = _Loop(model, optimizer, batches, ask, training)
    layers = LayerWeights(model)
    trace, losses, norms = Trace(), [], []
    for number in range(training.steps):
        seen = layers.watched() if number == 0 else nullcontext()
        with _noted(number, training.steps), seen:
            loss, norm = loop.step(number)
        losses.append(loss)
        norms.append(norm)
        if number == 0:
            # After the update the gradients are still those that made it.
            trace.gradients = layers.profile(before, float(loss))
            _first_update(trace, loop.trained, before, loop.clipped_to(norm))
    trace.update_ratios = layers.update_ratios(before)
    # All at once: on a GPU every transfer waits.
    trace.losses = torch.stack(losses).double().tolist()
    trace.gradient_norms = torch.stack(norms).double().tolist()
    return trace


class _Loop:
    """One update after the other."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        batches: Sequence[Any],
        ask: Objective,
        training: Training,
    ) -> None:
        self.trained = [
            p for group in optimizer.param_groups for p in group["params"] if p.requires_grad
        ]
        self._model = model
        self._optimizer = optimizer
        self._batches = batches
        self._ask = ask
        self._training = training

    def step(self, number: int) -> tuple[Tensor, Tensor]:
        """Loss before the update, and the norm of its gradient."""
        size = self._training.accumulate
        places = range(number * size, (number + 1) * size)
        part = [self._batches[place % len(self._batches)] for place in places]
        first: list[tuple[Tensor, Tensor]] = []

        def closure() -> Tensor:
            found = self._backward(part)
            first.append(found)
            return found[0]

        scaler = self._training.scaler
        if needs_closure(self._optimizer):
            with _at(part, "`optimizer.step(closure)`"):
                self._optimizer.step(closure)  # type: ignore[arg-type]
        else:
            closure()
            with _at(part, "`optimizer.step()`"):
                if scaler is None:
                    self._optimizer.step()
                else:
                    scaler.step(self._optimizer)
                    scaler.update()
        return first[0]

    def clipped_to(self, norm: Tensor) -> float:
        """By what the gradient was multiplied when it was clipped."""
        most = self._training.clip_norm
        return 1.0 if most is None else min(1.0, most / (float(norm) + 1e-6))

    def _backward(self, part: Sequence[Any]) -> tuple[Tensor, Tensor]:
        training, device = self._training, self.trained[0].device
        for parameter in self._model.parameters():
            parameter.grad = None
        total = torch.zeros((), device=device)
        for batch in part:
            with torch.enable_grad():
                loss = self._ask(self._model, batch).loss
                if not loss.requires_grad:
                    raise ValueError(
                        "`loss` must depend on a parameter that trains, but has no gradient."
                    )
                scaled = loss if training.scaler is None else training.scaler.scale(loss)
                with _at([batch], "the backward pass"):
                    (scaled / len(part)).backward()
            total = total + loss.detach().float() / len(part)
        if all(parameter.grad is None for parameter in self.trained):
            raise ValueError(
                "`loss` must depend on a parameter that the optimizer trains, but none got a "
                "gradient."
            )
        if training.scaler is not None:
            training.scaler.unscale_(self._optimizer)
        gradients = [p.grad for p in self.trained if p.grad is not None]
        norm = _norm(gradients)
        if training.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.trained, training.clip_norm)
        return total, norm


def _first_update(
    trace: Trace, trained: Sequence[nn.Parameter], before: Values, clipped: float
) -> None:
    squares, products = [], []
    unreached = 0
    for parameter in trained:
        update = _float(parameter.detach()) - _float(before[id(parameter)].to(parameter.device))
        squares.append(update.square().sum())
        gradient = parameter.grad
        if gradient is None:
            unreached += parameter.numel()
            continue
        gradient = _float(gradient.to_dense())
        unreached += int((gradient == 0).sum()) if not bool(gradient.any()) else 0
        products.append((gradient * update).sum())
    trace.first_update = math.sqrt(float(torch.stack(squares).sum()))
    total = float(torch.stack(products).sum()) if products else 0.0
    trace.first_order = -total / clipped if clipped > 0 else math.nan
    trace.unreached = unreached / sum(p.numel() for p in trained)


def _float(tensor: Tensor) -> Tensor:
    tensor = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    return tensor.float()


def _norm(gradients: Sequence[Tensor]) -> Tensor:
    """Over all parameters, float32; what sparse gradients hold counts once."""
    values = [g.coalesce().values() if g.is_sparse else g for g in gradients]
    device = values[0].device
    return (
        torch.stack([torch.linalg.vector_norm(v).float().to(device) for v in values])
        .square()
        .sum()
        .sqrt()
    )


@contextmanager
def _noted(number: int, steps: int) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        error.add_note(f"Raised in the probe, in first step {number + 1} of {steps}.")
        raise


@contextmanager
def _at(part: Sequence[Any], what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        shapes = "; ".join(described(batch) for batch in part[:2])
        error.add_note(f"Raised in {what}, for a batch of {shapes}.")
        raise
