"""Undo training: parameters, gradients, optimizer and scaler come back bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from recent_prune.probe.restoring.isolation import eager_modules

LARGEST_ON_DEVICE = 2**28
"""Bytes of parameters: of a larger model an accelerator holds no second copy."""

Values = dict[int, Tensor]
"""Former values by the id of their parameter."""


@contextmanager
def parameters_restored(model: nn.Module) -> Iterator[Values]:
    """Put back values, ``.grad`` and ``requires_grad`` of every parameter, also after an error.

    Inside, all gradients are None: what a step does to them cannot reach the user's. The former
    values of a large model on an accelerator wait in main memory.

    Args:
        model: Its parameters may be shared and frozen.

    Yields:
        The former values.
    """
    parameters = list(model.parameters())
    owned = [(module, dict(module._parameters)) for module in eager_modules(model)]
    flags = [p.requires_grad for p in parameters]
    gradients = [p.grad for p in parameters]
    values = _copied(parameters)
    try:
        for parameter in parameters:
            parameter.grad = None
        yield values
    finally:
        for module, named in owned:
            module._parameters.clear()
            module._parameters.update(named)
        # Gradients first: where memory ran out, they give some back.
        for parameter, flag, gradient in zip(parameters, flags, gradients, strict=True):
            if parameter.requires_grad != flag:  # nor may one of inference mode be asked to
                parameter.requires_grad_(flag)
            parameter.grad = gradient
        with torch.no_grad():
            for parameter in parameters:
                _write(parameter, values[id(parameter)])


@contextmanager
def attributes_restored(owner: Any) -> Iterator[None]:
    """Put back an optimizer, or a gradient scaler, with all the tensors that it holds.

    Its attributes, dictionaries and lists come back as the objects that they were, with what they
    held, and the tensors among them with their values: an empty state is empty again. So do
    optimizers that it is wrapped around.

    Args:
        owner: Any object with attributes. Parameters are left alone, see `parameters_restored`.
    """
    kept = _kept(vars(owner), set())
    try:
        yield
    finally:
        _put_back(vars(owner), kept)


def _kept(value: Any, seen: set[int]) -> Any:
    """What is needed to put a value back."""
    if isinstance(value, nn.Parameter) or id(value) in seen:
        return None
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        seen.add(id(value))
        return [(key, item, _kept(item, seen)) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        seen.add(id(value))
        return [(item, _kept(item, seen)) for item in value]
    if isinstance(value, Optimizer):
        seen.add(id(value))
        return _kept(vars(value), seen)
    return None


def _put_back(value: Any, kept: Any) -> None:
    if kept is None:
        return
    if isinstance(value, Tensor):
        with torch.no_grad():
            _write(value, kept)
    elif isinstance(value, dict):
        value.clear()
        for key, item, inner in kept:
            value[key] = item
            _put_back(item, inner)
    elif isinstance(value, Optimizer):
        _put_back(vars(value), kept)
    else:
        if isinstance(value, list):
            value[:] = [item for item, _ in kept]
        for item, inner in kept:
            _put_back(item, inner)


def _copied(parameters: list[nn.Parameter]) -> dict[int, Tensor]:
    size = sum(p.numel() * p.element_size() for p in parameters)
    values = {id(p): p.detach() for p in parameters}
    if size > LARGEST_ON_DEVICE:
        return {key: v.clone() if v.device.type == "cpu" else v.cpu() for key, v in values.items()}
    return {key: value.clone() for key, value in values.items()}


def _write(tensor: Tensor, value: Tensor) -> None:
    # Not compared with what it was: −0 is 0, and comparing needs memory, which may have run out.
    if not tensor.is_inference():  # nothing here could write to one
        tensor.copy_(value)
