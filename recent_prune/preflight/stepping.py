"""One training step, counted."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from recent_prune.preflight.batch_sizes import resized
from recent_prune.preflight.counting import MemoryCounter, Part
from recent_prune.preflight.peaks import Peak
from recent_prune.preflight.workspaces import libraries
from recent_prune.probe.batches.moving import moved
from recent_prune.probe.batches.raising import raising
from recent_prune.probe.first_steps.objective import Objective, objective
from recent_prune.probe.first_steps.optimizers import asks_for_closure, checked, needs_closure
from recent_prune.probe.first_steps.training import Training
from recent_prune.probe.restoring.isolation import device_of


def _larger(passes: Peak, update: Peak | None) -> Peak:
    if update is None or update.memory <= passes.memory:
        return passes
    return replace(update, operations=passes.operations)


class CountedSteps:
    """A user's training loop over a model, real or fake, in which every step is counted.

    As in ``loss(model(x), y).backward()``, the outputs are let go of when the loss is known.

    Args:
        model: In training mode; changed.
        training: How it trains.
        counter: That is active while :meth:`step` runs.
        device: That it will train on.

    Raises:
        TypeError: If ``training`` makes no optimizer.
        ValueError: If it is over parameters of another model.
    """

    def __init__(
        self,
        model: nn.Module,
        training: Training,
        counter: MemoryCounter,
        device: torch.device,
    ) -> None:
        given = training.optimizer
        with raising("the function `optimizer`"):
            made = given if isinstance(given, Optimizer) else given(model.parameters())
        self._optimizer = checked(made, model)
        if device.type == "cuda":  # there PyTorch's update all parameters at once by default
            for group in self._optimizer.param_groups:
                if group.get("foreach", True) is None and not group.get("fused"):
                    group["foreach"] = True
        self._model, self._training, self._counter = model, training, counter
        self._device = device
        self._ask: Objective = objective(training, placed=True)
        self._update: Peak | None = None
        self._closes = needs_closure(self._optimizer)
        counter.hold(model.parameters(), Part.PARAMETERS)
        counter.hold(model.buffers(), Part.BUFFERS)

    def step(self, batch: Any) -> Peak:
        """Make one step.

        Raises:
            Exception: Whatever model, loss and optimizer raise.
        """
        try:
            return self._step(batch)
        except Exception as error:
            if self._closes or not asks_for_closure(self._optimizer, error):
                raise
            self._closes = True
            return self._step(batch)

    def _step(self, batch: Any) -> Peak:
        counter, optimizer = self._counter, self._optimizer
        counter.restart()
        counter.convolutions.clear()
        state = counter.held(Part.OPTIMIZER)
        with counter, _labelled(self._model, counter):
            counter.part = Part.BATCH
            placed = moved(batch, device_of(self._model))
            if self._closes:
                optimizer.step(lambda: self._backward(placed))  # type: ignore[arg-type, return-value]
                passes = self._seen()
                self._hold_state()
            else:
                self._backward(placed)
                passes = self._seen()
                self._update = self._update or self._updated()
        for parameter in self._model.parameters():
            parameter.grad = None
        if counter.held(Part.ACTIVATIONS):  # such as of a function whose graph refers to itself
            gc.collect()
        # From its second step on an optimizer has its state while the passes run.
        kept = libraries(self._device, counter.convolutions)
        passes = passes.more(Part.OPTIMIZER, counter.held(Part.OPTIMIZER) - state)
        update = self._update and self._update.more(Part.BATCH, counter.held(Part.BATCH))
        largest = _larger(passes, update)
        moments = (*passes.moments, *(() if update is None else update.moments))
        return replace(largest, moments=moments).more(Part.LIBRARIES, kept)

    def _seen(self) -> Peak:
        made = min(self._training.accumulate, 2)
        operations = self._counter.operations * self._training.accumulate // made
        counter = self._counter
        moments = tuple(counter.moments)
        return Peak(counter.peak, dict(counter.peak_parts), operations, moments)

    def _updated(self) -> Peak:
        """What the update takes but for the batch, on whose size it does not depend."""
        counter = self._counter
        counter.restart()
        self._clip()
        with _answered(counter):
            self._optimizer.step()
        seen, before = self._seen(), counter.held(Part.OPTIMIZER)
        self._hold_state()
        made = min(counter.held(Part.OPTIMIZER) - before, seen.parts[Part.TEMPORARIES])
        seen = seen.more(Part.TEMPORARIES, -made).more(Part.OPTIMIZER, made)
        return seen.more(Part.BATCH, -counter.held(Part.BATCH))

    def _hold_state(self) -> None:
        state = list(self._optimizer.state.values())
        self._counter.hold(_tensors(state), Part.OPTIMIZER)

    def _backward(self, batch: Any) -> Tensor:
        """Of two batches where gradients are accumulated: further ones take no more memory."""
        counter, size = self._counter, self._training.accumulate
        for parameter in self._model.parameters():
            parameter.grad = None
        for _ in range(min(size, 2)):
            counter.part = Part.BATCH  # until the model is called
            with torch.enable_grad():
                loss = self._ask(self._model, batch).loss
                counter.part = Part.TEMPORARIES
                with raising("the backward pass", batch):
                    (loss / size).backward()
        return loss.detach()

    def _clip(self) -> None:
        if self._training.clip_norm is not None:
            groups = self._optimizer.param_groups
            trained = [p for group in groups for p in group["params"] if p.requires_grad]
            nn.utils.clip_grad_norm_(trained, self._training.clip_norm)


def peaks_of(loop: CountedSteps, batch: Any, size: int, other: int) -> dict[int, Peak]:
    """Peaks by batch size, of the batch as it is and, where it can be, with another size."""
    peaks = {size: loop.step(batch)}
    another = resized(batch, other)
    if another is not None:
        with suppress(Exception):  # such as of a model for one batch size
            peaks[other] = loop.step(another)
    return peaks


@contextmanager
def _labelled(model: nn.Module, counter: MemoryCounter) -> Iterator[None]:
    """Tell activations and gradients from what is in passing."""

    def forward(*_: Any) -> None:
        counter.part = Part.ACTIVATIONS

    def accumulated(parameter: Tensor) -> None:
        if parameter.grad is not None:
            counter.hold([parameter.grad], Part.GRADIENTS)

    handles = [model.register_forward_pre_hook(forward)]
    handles += [
        p.register_post_accumulate_grad_hook(accumulated)
        for p in model.parameters()
        if p.requires_grad
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _answered(counter: MemoryCounter) -> Iterator[None]:
    """Some optimizers ask for a number (a rate, a norm), on which their memory does not depend."""
    counter.scalars = True
    try:
        yield
    finally:
        counter.scalars = False


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)
