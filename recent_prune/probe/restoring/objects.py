"""Objects with all that they hold: optimizers, scalers, modules, and the user's own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
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
from recent_prune.probe.restoring.interrupts import putting_back
from recent_prune.probe.restoring.reaching import (
    ATOMS,
    CONTAINERS,
    LONGEST,
    MOST,
    attributes_of,
    is_own,
    parts_of,
)
from recent_prune.probe.restoring.tensors import Held, all_of, held, put_back

LARGEST_COPIES = 2**28
"""Bytes that are copied in all, of what the user's objects and modules beside the model hold."""


@putting_back
def attributes_restored(
    *owners: Any, values: Iterable[Any] = (), model: nn.Module | None = None
) -> Iterator[None]:
    """Put back an optimizer, a gradient scaler or modules, with all that they hold.

    Attributes and containers come back as the objects that they were, with what they held, and the
    tensors, arrays and generators among them with their values: an empty state is empty again. So
    do optimizers, modules and objects of the user's own that are held, but for data sets, samplers
    and what holds an iterator, which cannot be put back; of what those objects hold in turn, the
    nearest `MOST`, and no more than `LARGEST_COPIES` bytes in all.

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
    seen, foreign, room = set[int](), 0, LARGEST_COPIES
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
    if isinstance(value, (MethodType, partial)):
        return parts_of(value), is_foreign
    if isinstance(value, (Tensor, Dataset, Sampler)) or not is_own(type(value)):
        return (), is_foreign
    own = attributes_of(value)
    # What is counted beside an iterator belongs to where that stands.
    return () if any(isinstance(each, Iterator) for each in own.values()) else (own,), True


def _put_flags(parameter: nn.Parameter, gradient: Tensor | None, flag: bool) -> None:
    if parameter.requires_grad != flag:
        parameter.requires_grad_(flag)
    parameter.grad = gradient
