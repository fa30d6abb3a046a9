"""Undo training: a model and its gradients come back bit for bit."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
from torch import Tensor, nn

from recent_prune.probe.restoring.contents import kept_content
from recent_prune.probe.restoring.interrupts import interrupts_waiting, putting_back
from recent_prune.probe.restoring.isolation import (
    ONE_AT_A_TIME,
    eager_modules,
    modules_restored,
)
from recent_prune.probe.restoring.tensors import all_of, changed, put_where_it_was, write
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

    Attributes of all modules (identity, and what is in containers and arrays), so their parts,
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
    """Put back which attributes modules have, and what is in containers and arrays of them."""
    owned = [own for module in modules for own in _containers(vars(module))]
    # Most are tables of hooks without any: to hold something for each would wake the collector.
    empty = [own for own in owned if not isinstance(own, np.ndarray) and not own]
    kept = [kept_content(own) for own in owned if isinstance(own, np.ndarray) or own]
    try:
        yield
    finally:
        for own in filter(None, empty):
            own.clear()
        all_of(put for put in kept if put is not None)


_CHANGING = (dict, OrderedDict, list, deque, set, np.ndarray)


def _containers(attributes: dict[str, Any]) -> list[Any]:
    """These, and the containers and arrays among them."""
    return [attributes, *(value for value in attributes.values() if type(value) in _CHANGING)]


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
        for parameter, memory in zip(parameters, memories, strict=True):
            put_where_it_was(parameter, memory)
        former = _changed(parameters, values, writes, trained)
        write((tensor, value) for tensor, value in former if not tensor.is_inference())


def _changed(
    parameters: list[nn.Parameter], values: Values, writes: Writes | None, trained: bool
) -> list[tuple[Tensor, Tensor]]:
    """What is to be written back."""
    if writes is not None:
        return writes.former
    former: list[tuple[Tensor, Tensor]] = [(p, values[id(p)]) for p in parameters]
    # What trains is not compared: it has changed, and memory may have run out.
    trains = [pair for pair in former if trained and pair[0].requires_grad]
    return trains + changed([pair for pair in former if not (trained and pair[0].requires_grad)])


def _copied(parameters: list[nn.Parameter], size: int) -> Values:
    values = {id(p): p.detach() for p in parameters}
    if size > LARGEST_ON_DEVICE:
        return {key: v.clone() if v.device.type == "cpu" else v.cpu() for key, v in values.items()}
    return {key: value.clone() for key, value in values.items()}
