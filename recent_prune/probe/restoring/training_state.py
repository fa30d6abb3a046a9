"""Undo training: a model, its gradients, optimizer and scaler come back bit for bit."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from functools import partial
from itertools import islice
from types import MethodType
from typing import Any
from weakref import ProxyTypes

import numpy as np
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer
from torch.utils.data import Dataset, Sampler

from recent_prune.probe.restoring import generators
from recent_prune.probe.restoring.contents import kept_content
from recent_prune.probe.restoring.interrupts import interrupts_waiting, putting_back
from recent_prune.probe.restoring.isolation import (
    ONE_AT_A_TIME,
    eager_modules,
    modules_restored,
)
from recent_prune.probe.restoring.reaching import (
    ATOMS,
    CONTAINERS,
    LONGEST,
    MOST,
    attributes_of,
    is_own,
)
from recent_prune.probe.restoring.tensors import (
    Held,
    all_of,
    changed,
    held,
    put_back,
    put_where_it_was,
    write,
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


@putting_back
def attributes_restored(
    *owners: Any, values: Iterable[Any] = (), model: nn.Module | None = None
) -> Iterator[None]:
    """Put back an optimizer, a gradient scaler or modules, with all that they hold.

    Attributes and containers come back as the objects that they were, with what they held, and the
    tensors, arrays and generators among them with their values: an empty state is empty again. So
    do optimizers, modules and objects of the user's own that are held, but for data sets, samplers
    and what holds an iterator, which cannot be put back; of what those objects hold in turn, the
    nearest `MOST`, and no more than `LARGEST_ON_DEVICE` bytes in all.

    Args:
        owners: Any objects with attributes.
        values: What else is held, as if an object of the user's held it.
        model: Whose parameters are looked after elsewhere; without it that holds of all parameters.
    """
    tensors, puts = _kept(owners, values, model)
    try:
        yield
    finally:
        all_of([*puts, lambda: put_back(tensors)])


def _kept(
    owners: Iterable[Any], values: Iterable[Any], model: nn.Module | None
) -> tuple[list[Held], list[Callable[[], None]]]:
    """Tensors, and what puts back all else."""
    tensors: list[Held] = []
    puts: list[Callable[[], None]] = []
    apart = {id(parameter) for parameter in model.parameters()} if model is not None else set()
    # What modules and optimizers hold themselves is few, or needed.
    waiting = deque((vars(o), not isinstance(o, (nn.Module, Optimizer))) for o in owners)
    waiting.extend((value, True) for value in values if type(value) not in ATOMS)
    seen, foreign, room = set[int](), 0, LARGEST_ON_DEVICE
    while waiting:
        value, is_foreign = waiting.popleft()
        if id(value) in seen or (is_foreign and foreign >= MOST):
            continue
        if type(value) in ProxyTypes:  # whose object may be gone
            continue
        seen.add(id(value))
        foreign += is_foreign
        put = None
        size = _own_bytes(value, apart) if is_foreign or isinstance(value, nn.Module) else 0
        if size > room:  # of a module only what it has beside its parameters
            if not isinstance(value, nn.Module):
                continue
            apart.update(map(id, value.parameters()))
            size = 0
        room -= size
        try:
            if isinstance(value, CONTAINERS):  # first, since most are
                put = kept_content(value)
            elif isinstance(value, nn.Parameter):
                if model is not None and id(value) not in apart:
                    tensors += [] if is_lazy(value) else [held(value)]
                    put = partial(_put_flags, value, value.grad, value.requires_grad)
                    waiting.append((value.grad, is_foreign))
            elif isinstance(value, Tensor):
                tensors += [] if is_lazy(value) else [held(value)]
            elif not isinstance(value, nn.Module):
                put = generators.kept(value) or kept_content(value)
            inside, is_inner = _inside(value, is_foreign)
        except Exception:
            if not is_foreign:
                raise
            continue  # a class of the user's that does not want to be looked at, or no memory
        if put is not None:
            puts.append(put)
        waiting.extend((each, is_inner) for each in inside if type(each) not in ATOMS)
    return tensors, puts


def _own_bytes(value: Any, apart: set[int]) -> int:
    """That a copy would take; of a module those of its parameters that nobody else looks after."""
    if isinstance(value, nn.Module):
        return _bytes(p for p in value.parameters(recurse=False) if id(p) not in apart)
    if isinstance(value, np.ndarray):
        return value.nbytes
    return _bytes([value]) if isinstance(value, Tensor) and id(value) not in apart else 0


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors if not is_lazy(t))


def _inside(value: Any, is_foreign: bool) -> tuple[Iterable[Any], bool]:
    """What a value holds, and whether that is no longer a module's or an optimizer's own."""
    if isinstance(value, CONTAINERS):
        items = dict.values(value) if isinstance(value, dict) else iter(value)
        most = LONGEST if is_foreign else None
        beside = [attributes_of(value)] if is_own(type(value)) else []
        return [*islice(items, most), *beside], is_foreign
    if isinstance(value, (nn.Module, Optimizer)):
        return (vars(value),), False
    if isinstance(value, MethodType):
        return (value.__self__,), is_foreign
    if isinstance(value, (Tensor, Dataset, Sampler)) or not is_own(type(value)):
        return (), is_foreign
    own = attributes_of(value)
    # What is counted beside an iterator belongs to where that stands.
    return () if any(isinstance(each, Iterator) for each in own.values()) else (own,), True


def _put_flags(parameter: nn.Parameter, gradient: Tensor | None, flag: bool) -> None:
    if parameter.requires_grad != flag:
        parameter.requires_grad_(flag)
    parameter.grad = gradient


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
