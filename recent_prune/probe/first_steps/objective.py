"""The loss of a batch, as the user's loop computes it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import fields, is_dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from recent_prune.probe.batches.calling import Arguments, arguments, target_of, way_out
from recent_prune.probe.batches.inputs import first_tensor
from recent_prune.probe.batches.moving import described, moved, with_items
from recent_prune.probe.batches.raising import raising
from recent_prune.probe.first_steps.training import Training
from recent_prune.probe.restoring.isolation import device_of


class Answer(NamedTuple):
    """What a model says of a batch.

    Attributes:
        loss: A scalar, with its graph where gradients are recorded.
        output: The tensor of predictions, [n, …], or None where only a loss came out.
        target: What was asked for, on the model's device, or None.
        form: Other predictions in the place of these, as the loss gets them.
    """

    loss: Tensor
    output: Tensor | None
    target: Any
    form: Callable[[Tensor], Any] | None = None


Objective = Callable[[nn.Module, Any], Answer]


def objective(training: Training, *, placed: bool = False) -> Objective:
    """From a model and a batch, wherever it lies, to loss, output and target.

    Args:
        training: How it trains.
        placed: Whether the batch lies on the model's device already, and may be written to: else a
            copy goes in.

    The function raises a TypeError or ValueError where a target is missing or the loss is no
    scalar; what model or loss raise gets a note that says what they were given.
    """

    def answer(model: nn.Module, batch: Any) -> Answer:
        device = device_of(model)
        if not placed:
            batch = moved(batch, device)
        given = arguments_of(model, batch, training)
        with _mixed(device, training.autocast):
            with raising("the forward pass", batch, hint=partial(way_out, model)):
                if training.call is not None:
                    output = training.call(model, batch)
                    if isinstance(output, Answer):  # it knows all of it
                        return output
                    given, output = _with_target(training, given, output)
                else:
                    output = model(*given.args, **given.kwargs)
            if training.loss is None:
                loss = _own_loss(model, output)
            else:
                _check_target(model, given, batch)
                with raising("`loss`", batch, hint=partial(_loss_hint, model, output, given)):
                    loss = training.loss(output, given.target)
        predictions = _predictions(output)
        form = None if predictions is None else partial(in_place_of, predictions, output)
        return Answer(_scalar(loss), predictions, given.target, form)

    return answer


def arguments_of(model: nn.Module, batch: Any, training: Training) -> Arguments:
    """What the model is called with, and the target.

    Raises:
        TypeError: If the batch fits none of the conventions.
        ValueError: If a target is missing.
    """
    if training.call is not None:
        return Arguments((), {}, target_of(batch))
    given = arguments(model, batch, own_loss=training.loss is None)
    if training.loss is not None:
        _check_target(model, given, batch)
    return given


def _loss_hint(model: nn.Module, output: Any, given: Arguments) -> str:
    return (
        f"It got {_kind(output)}, and {_kind(given.target)} as target; where the batch is meant "
        f"otherwise: {way_out(model)}"
    )


def _with_target(training: Training, given: Arguments, output: Any) -> tuple[Arguments, Any]:
    """Of what ``call`` gave, the target, where the batch does not tell it: (output, target)."""
    pair = isinstance(output, (tuple, list)) and len(output) == 2
    if training.loss is None or given.target is not None or not pair:
        return given, output
    return replace(given, target=output[1]), output[0]


def _check_target(model: nn.Module, given: Arguments, batch: Any) -> None:
    if given.target is None:
        raise ValueError(
            f"`loss` needs a target, but the batch ({described(batch)}) has none: give batches "
            "(inputs, targets), or a `call(model, batch)` that returns (output, target), or, with "
            "loss=None, the loss. "
            f"{way_out(model)}"
        )


def _own_loss(model: nn.Module, output: Any) -> Any:
    if isinstance(output, Tensor):
        return output
    found = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
    if found is None and isinstance(output, (tuple, list)) and output:
        found = output[0]
    if isinstance(found, Tensor):
        return found
    if isinstance(output, Mapping) and output and _is_scalar(list(output.values())):
        return torch.stack(list(output.values())).sum()  # several losses, as detectors have
    raise ValueError(
        f"`loss` is None, so `model` ({type(model).__name__}) must return its own, as a scalar, "
        "under 'loss', first of a tuple or as a mapping of several, but it returned "
        f"{_kind(output)}."
    )


def _scalar(loss: Any) -> Tensor:
    if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.is_floating_point():
        raise ValueError(f"`loss` must give a scalar tensor, but gave {_kind(loss)}.")
    return loss.reshape(())


def _predictions(output: Any) -> Tensor | None:
    if isinstance(output, Mapping) and isinstance(output.get("logits"), Tensor):
        output = output["logits"]
    elif isinstance(getattr(output, "logits", None), Tensor):
        output = output.logits
    elif isinstance(output, (tuple, list)) and _is_scalar(output[:1]):
        output = output[1:]  # behind the model's own loss
    tensor = first_tensor(output)
    if tensor is None or tensor.dim() == 0 or not tensor.is_floating_point():
        return None
    return tensor


def in_place_of(predictions: Tensor, output: Any, others: Tensor) -> Any:
    """An output with other predictions in it, and with NaN in place of all other numbers.

    So a loss that is asked about a constant prediction tells whether it looks at anything else.
    """
    if output is predictions:
        return others
    if isinstance(output, Tensor):
        return others.new_full((), math.nan) if output.is_floating_point() else output
    if is_dataclass(output) and not isinstance(output, type):
        parts = {f.name: getattr(output, f.name) for f in fields(output) if f.init}
        return replace(
            output, **{k: in_place_of(predictions, item, others) for k, item in parts.items()}
        )
    if isinstance(output, Mapping):
        parts = {key: in_place_of(predictions, item, others) for key, item in output.items()}
        return with_items(output, parts)
    if isinstance(output, tuple) and hasattr(output, "_fields"):
        return type(output)(*(in_place_of(predictions, item, others) for item in output))
    if isinstance(output, (tuple, list)):
        return type(output)(in_place_of(predictions, item, others) for item in output)
    return output


def _is_scalar(values: Sequence[Any]) -> bool:
    return all(isinstance(value, Tensor) and value.dim() == 0 for value in values)


@contextmanager
def _mixed(device: torch.device, dtype: torch.dtype | None) -> Iterator[None]:
    """Mixed precision. Weights cast in it are forgotten, also within the caller's own region.

    There they would be those of before an update, or without a graph.
    """
    torch.clear_autocast_cache()
    try:
        with nullcontext() if dtype is None else torch.autocast(device.type, dtype):
            yield
    finally:
        torch.clear_autocast_cache()


def _kind(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}, {value.dtype}"
    return f"a {type(value).__name__}"
