"""The way back: how the gradients of a loss arrive at each layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from recent_prune.probe.restoring.devices import solvable
from recent_prune.probe.watching.modules import is_normalization, named_modules, own_weights

Loss = Callable[[Any, Tensor], Tensor]
"""From the model's output and the labels to a scalar, such as a cross-entropy."""

SAMPLES = 512
"""Samples in the backward pass at most: the cascade is fitted on all there are."""

ADAM_EPSILON = 1e-8
"""PyTorch's default: gradients below it do not move a weight, even with Adam."""


@dataclass(frozen=True, eq=False)
class Backward:
    """Settings of the backward pass that a probe makes on demand.

    Attributes:
        loss: From the model's output, as it is, and the labels to a scalar.
        labels: Of the inputs, [n, …]; None where the batches of ``inputs`` hold them, as the second
            of a pair or under ``labels``, ``label``, ``targets``, ``target`` or ``y``.
        learning_rate: For the update-to-weight ratios; None leaves them out.
        optimizer: Whose first update is meant: ``"sgd"`` (default; with or without momentum,
            the first is the same) or ``"adam"`` (Adam and AdamW; PyTorch's default ε).

    Raises:
        TypeError: If ``loss`` cannot be called, or ``labels`` are no tensor.
        ValueError: If ``learning_rate`` is not positive or ``optimizer`` unknown.
    """

    loss: Loss
    labels: Tensor | None = None
    learning_rate: float | None = None
    optimizer: Literal["sgd", "adam"] = "sgd"

    def __post_init__(self) -> None:
        if not callable(self.loss) or isinstance(self.loss, type):
            raise TypeError(f"`loss` must be a function or a module, but got {self.loss!r}.")
        if self.labels is not None and not isinstance(self.labels, Tensor):
            raise TypeError(f"`labels` must be a tensor, but got {type(self.labels).__name__}.")
        rate = self.learning_rate
        if rate is not None and not (isinstance(rate, (int, float)) and rate > 0):
            raise ValueError(f"`learning_rate` must be a positive number, but got {rate!r}.")
        if self.optimizer not in ("sgd", "adam"):
            raise ValueError(f"`optimizer` must be 'sgd' or 'adam', but got {self.optimizer!r}.")

    def update(self, gradient: Tensor) -> Tensor:
        """The first step that the optimizer would take, without its sign."""
        rate = self.learning_rate or 0.0
        if self.optimizer == "sgd":
            return rate * gradient
        # After one step both moments are corrected to g and g².
        return rate * gradient / (gradient.abs() + ADAM_EPSILON)


@dataclass(frozen=True)
class GradientProfile:
    """How the gradients of one batch arrive at the weights, in the order of execution.

    Attributes:
        layers: Names of the weighted modules that train, the head included.
        gradient_rms: Root mean square of the gradient of each one's weights, in units of the
            loss per unit of weight; 0 where none arrives.
        weight_rms: Root mean square of the weights.
        update_ratio: Root mean square of the first update divided by that of the weights, or None
            without a learning rate. About 1e-3 is healthy by a rule of thumb.
        loss: Of the batch at initialization (nats for a cross-entropy).
    """

    layers: tuple[str, ...]
    gradient_rms: tuple[float, ...]
    weight_rms: tuple[float, ...]
    update_ratio: tuple[float, ...] | None
    loss: float


def gradient_profile(
    model: nn.Module, batch: Tensor, labels: Tensor, settings: Backward
) -> GradientProfile:
    """One forward and one backward pass; no ``.grad`` is touched.

    Args:
        model: In probing mode.
        batch: [n, …].
        labels: [n, …].
        settings: Loss, learning rate and optimizer.

    Raises:
        ValueError: If there are no weights that train, or the loss is no scalar.
    """
    stride = -(-len(batch) // SAMPLES)
    # A copy: labels from inference mode could not be saved for the way back.
    batch, labels = batch[::stride], labels[::stride].clone()
    order: list[str] = []
    weights: dict[str, list[Tensor]] = {}
    handles = []
    for name, module in named_modules(model):
        own = [p for p in own_weights(module) if p.requires_grad]
        if own and not is_normalization(module):
            weights[name] = list(own)
            handles.append(module.register_forward_pre_hook(lambda *_, n=name: order.append(n)))
    if not weights:
        raise ValueError(f"`model` ({type(model).__name__}) has no weights that train.")
    try:
        with torch.enable_grad():
            loss = _loss(settings.loss, model(batch.clone()), labels)
            if not isinstance(loss, Tensor) or loss.numel() != 1:
                raise ValueError(f"`loss` must give a scalar tensor, but gave {loss!r:.80}.")
            names = _in_order(order, list(weights))
            flat = [weight for name in names for weight in weights[name]]
            found = torch.autograd.grad(loss.sum(), flat, allow_unused=True)
    finally:
        for handle in handles:
            handle.remove()
    gradients = {
        id(weight): torch.zeros_like(weight) if gradient is None else gradient.to_dense()
        for weight, gradient in zip(flat, found, strict=True)
    }
    ratios = [_rms(settings.update(gradients[id(w)]) for w in weights[n]) for n in names]
    sizes = [_rms(weights[name]) for name in names]
    return GradientProfile(
        layers=tuple(name or "model" for name in names),
        gradient_rms=tuple(_rms(gradients[id(w)] for w in weights[name]) for name in names),
        weight_rms=tuple(sizes),
        update_ratio=(
            None
            if settings.learning_rate is None
            else tuple(_ratio(r, s) for r, s in zip(ratios, sizes, strict=True))
        ),
        loss=_number(float(loss.detach())),
    )


def _loss(loss: Loss, output: Any, labels: Tensor) -> Tensor:
    try:
        return loss(output, labels)
    except Exception as error:
        error.add_note(
            "Raised in the probe by `loss`, which gets what the model returns, here "
            f"{type(output).__name__}, and labels of shape {tuple(labels.shape)}."
        )
        raise


def _ratio(update: float, weight: float) -> float:
    return math.inf if weight == 0 else _number(update / weight)


def _in_order(called: list[str], names: list[str]) -> list[str]:
    """Names in the order of their first call; those never called behind their parent module.

    Attention, for one, uses the weights of a child without calling it.
    """
    order = [name for name in dict.fromkeys(called) if name in names]
    for name in names:
        if name not in order:
            parent = name.rpartition(".")[0]
            order.insert(order.index(parent) + 1 if parent in order else len(order), name)
    return order


def _rms(parts: Iterable[Tensor]) -> float:
    numbers = torch.cat([solvable(part.detach()).double().flatten() for part in parts])
    return _number(float(numbers.square().mean().sqrt()))


def _number(value: float) -> float:
    # One NaN object throughout, so that results with NaN compare as equal.
    return math.nan if math.isnan(value) else value
