"""Undo training: a model, its gradients, optimizer and scaler come back bit for bit."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from recent_prune.probe.restoring import generators
from recent_prune.probe.restoring.interrupts import interrupts_waiting, putting_back
from recent_prune.probe.restoring.isolation import (
    ONE_AT_A_TIME,
    changed_bits,
    eager_modules,
    modules_restored,
    put_where_it_was,
)
from recent_prune.probe.restoring.writes import Writes

LARGEST_ON_DEVICE = 2**28
"""Bytes of parameters: of a larger model an accelerator holds no second copy."""

LARGEST_COPIED = 2**26
"""Bytes of parameters: of a larger model that is not trained only what is written to is copied. To
look at each operation takes longer than to copy a small model."""

Values = dict[int, Tensor]
"""Former values by the id of their parameter."""


@putting_back
def model_restored(model: nn.Module, *, trained: bool = False) -> Iterator[Values]:
    """Put back all of a model that it may write to as it runs, also after an error.

    Attributes of all modules (identity, and what is in dictionaries and lists), so their parts,
    hooks, modes, parameters and buffers, and what :func:`parameters_restored` puts back. Models
    write to their parameters as they are evaluated where they bound their norms, and to attributes
    where they count, cache, or build a part when they first see its input.

    Args:
        model: Others that probe it wait.
        trained: See :func:`parameters_restored`.

    Yields:
        The former values of its parameters, if it is to be trained.
    """
    with (
        interrupts_waiting(),
        ONE_AT_A_TIME,
        contents_restored(eager_modules(model)),
        modules_restored(model),
        parameters_restored(model, trained=trained) as values,
    ):
        yield values


@putting_back
def contents_restored(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Put back which attributes modules have, and what is in dictionaries and lists of them."""
    owned = (own for module in modules for own in _containers(vars(module)))
    kept = [(own, own.copy()) for own in owned]
    try:
        yield
    finally:
        for own, content in kept:
            if _identities(own) != _identities(content):
                own.clear()
                (own.update if isinstance(own, dict) else own.extend)(content)


def _containers(attributes: dict[str, Any]) -> list[Any]:
    """These, and the dictionaries and lists among them."""
    inside = [value for value in attributes.values() if type(value) in (dict, OrderedDict, list)]
    return [attributes, *inside]


def _identities(value: Any) -> list[tuple[int, ...]]:
    pairs = value.items() if isinstance(value, dict) else zip(value)
    return [tuple(map(id, pair)) for pair in pairs]


@putting_back
def parameters_restored(model: nn.Module, *, trained: bool = True) -> Iterator[Values]:
    """Put back values, ``.grad`` and ``requires_grad`` of every parameter, also after an error.

    Inside, all gradients are None: what a step does to them cannot reach the user's. The former
    values of a large model on an accelerator wait in main memory. Where nothing is to be trained,
    a large model's are copied as they are written to, see :class:`Writes`.

    Args:
        model: Its parameters may be shared and frozen.
        trained: Whether all are to be changed. Else only those that were are written to: a graph
            that the user holds forbids the others.

    Yields:
        The former values, of a model that is to be trained.
    """
    parameters = list(model.parameters())
    flags = [p.requires_grad for p in parameters]
    gradients = [p.grad for p in parameters]
    memories = [p.detach() for p in parameters]
    size = sum(p.numel() * p.element_size() for p in parameters)
    writes = Writes(parameters) if size > LARGEST_COPIED and not trained else None
    values = {} if writes is not None else _copied(parameters, size)
    try:
        for parameter in parameters:
            parameter.grad = None
        with writes or nullcontext():
            yield values
    finally:
        # Gradients first: where memory ran out, they give some back.
        for parameter, flag, gradient in zip(parameters, flags, gradients, strict=True):
            if parameter.requires_grad != flag:  # nor may one of inference mode be asked to
                parameter.requires_grad_(flag)
            parameter.grad = gradient
        with torch.no_grad():
            for parameter, memory in zip(parameters, memories, strict=True):
                put_where_it_was(parameter, memory)
            for tensor, value in _changed(parameters, values, writes, trained):
                _write(tensor, value)


@putting_back
def attributes_restored(owner: Any) -> Iterator[None]:
    """Put back an optimizer, or a gradient scaler, with all the tensors that it holds.

    Its attributes, dictionaries and lists come back as the objects that they were, with what they
    held, and the tensors and generators among them with their values: an empty state is empty
    again. So do optimizers that it is wrapped around.

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
    return generators.kept(value)


def _put_back(value: Any, kept: Any) -> None:
    if kept is None:
        return
    if callable(kept):
        kept()
    elif isinstance(value, Tensor):
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


def _changed(
    parameters: list[nn.Parameter], values: Values, writes: Writes | None, trained: bool
) -> list[tuple[Tensor, Tensor]]:
    """What is to be written back."""
    if writes is not None:
        return writes.former
    former: list[tuple[Tensor, Tensor]] = [(p, values[id(p)]) for p in parameters]
    if trained:
        return former
    return [pair for pair, is_other in zip(former, changed_bits(former), strict=True) if is_other]


def _copied(parameters: list[nn.Parameter], size: int) -> Values:
    values = {id(p): p.detach() for p in parameters}
    if size > LARGEST_ON_DEVICE:
        return {key: v.clone() if v.device.type == "cpu" else v.cpu() for key, v in values.items()}
    return {key: value.clone() for key, value in values.items()}


def _write(tensor: Tensor, value: Tensor) -> None:
    # Not compared with what it was: −0 is 0, and comparing needs memory, which may have run out.
    if not tensor.is_inference():  # nothing here could write to one
        tensor.copy_(value)
