"""What code on fake tensors could write to besides its model, found and put back.

A cache that a forward pass fills, a module that a loss keeps a mean in, a backbone that a function
gives a new head: tensors without values that stay in one of them break the training after it.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from types import CellType, FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn.parameter import is_lazy

from recent_prune.probe.restoring.interrupts import putting_back
from recent_prune.probe.restoring.reaching import (
    CACHE,
    CONTAINERS,
    attributes_of,
    is_own,
    names_in,
    reached,
)
from recent_prune.probe.restoring.tensors import put_where_it_was
from recent_prune.probe.restoring.training_state import contents_restored

LONGEST = 100_000
"""Items of a container that is put back."""
DEEPEST = 4
"""Containers within containers in which a tensor is looked for."""

PutBack = Callable[[], None]

_MISSING: Any = object()


@putting_back
def surroundings_restored(called: Iterable[Any]) -> Iterator[None]:
    """Put back what lies around a trial where something without values was written to it.

    What code can reach by name is found: closures, defaults, globals, attributes of classes and
    objects and what these hold, as far as they are the user's own and no library's. Modules among
    them come back with the parts, attributes and parameters that they had, values aside.

    Args:
        called: What runs: the model or what builds it, loss, optimizer or what makes it, `call`.
    """
    kept: list[PutBack] = []
    with ExitStack() as stack:
        for found in reached(called):
            if isinstance(found, torch.jit.ScriptModule):
                continue
            if isinstance(found, nn.Module):
                stack.enter_context(_module_restored(found))
            else:
                kept += _keep(found)
        try:
            yield
        finally:
            for put_back in kept:
                put_back()


def is_left(is_holding: Callable[[], bool]) -> bool:
    """Whether something without values is held for good, caches of functions emptied."""
    if is_holding():
        gc.collect()
    if is_holding():
        empty_caches()
        gc.collect()
    return is_holding()


def empty_caches() -> None:
    """Clear what `functools.lru_cache` and `cache` hold without values: they compute it anew."""
    # Not isinstance, which some objects answer with a warning.
    for cache in [found for found in gc.get_objects() if type(found) is CACHE]:
        _emptied(cache)


def is_hollow(value: Any, depth: int = DEEPEST) -> bool:
    """Whether it is, or holds, a fake tensor."""
    if isinstance(value, FakeTensor):
        return True
    if isinstance(value, nn.Module):
        return any(isinstance(t, FakeTensor) for t in _tensors(value))
    if depth == 0:
        return False
    if isinstance(value, dict):
        inside: Iterable[Any] = list(value.values())
    elif isinstance(value, CONTAINERS):
        inside = list(value)
    else:
        inside = attributes_of(value).values() if is_own(type(value)) else ()
    return any(is_hollow(item, depth - 1) for item in inside)


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    yield from module.parameters()
    yield from module.buffers()


@putting_back
def _module_restored(module: nn.Module) -> Iterator[None]:
    """By itself, without its parts."""
    own = (*module.parameters(recurse=False), *module.buffers(recurse=False))
    tensors = [(t, t.detach(), t.requires_grad, t.grad) for t in own if not is_lazy(t)]
    try:
        with contents_restored([module]):
            yield
    finally:
        for tensor, memory, flag, gradient in tensors:
            put_where_it_was(tensor, memory)
            if tensor.requires_grad != flag:
                tensor.requires_grad_(flag)
            if is_hollow(tensor.grad):
                tensor.grad = gradient


def _keep(found: Any) -> Iterator[PutBack]:
    """What puts an object back where it came to hold something without values."""
    if type(found) is CACHE:
        yield lambda: _emptied(found)
    elif isinstance(found, FunctionType):
        names, known = names_in(found.__code__), found.__globals__
        yield _named(
            lambda: {n: known[n] for n in names if n in known}, known.__setitem__, known.pop
        )
        for cell in found.__closure__ or ():
            yield _named(partial(_content, cell), partial(setattr, cell), partial(delattr, cell))
    elif isinstance(found, type):
        yield _named(lambda: dict(vars(found)), partial(setattr, found), partial(delattr, found))
    elif isinstance(found, CONTAINERS):
        if len(found) > LONGEST:
            return
        if isinstance(found, dict):
            yield _named(lambda: dict(found), found.__setitem__, found.pop)
        elif not isinstance(found, tuple):
            yield _items(found)
    elif isinstance(own := getattr(found, "__dict__", None), dict):
        yield from _keep(own)


def _content(cell: CellType) -> dict[str, Any]:
    try:
        return {"cell_contents": cell.cell_contents}
    except ValueError:  # not set yet
        return {}


def _named(
    now: Callable[[], dict[Any, Any]],
    put: Callable[[Any, Any], Any],
    drop: Callable[[Any], Any],
) -> PutBack:
    """Named values, of which those that became hollow are put back."""
    before = now()

    def put_back() -> None:
        for key, value in now().items():
            if value is not before.get(key, _MISSING) and is_hollow(value):
                if key in before:
                    put(key, before[key])
                else:
                    drop(key)

    return put_back


def _items(owner: Any) -> PutBack:
    """Items of a list, set or deque: all come back where one became hollow."""
    before = list(owner)

    def put_back() -> None:
        known = set(map(id, before))
        if any(id(item) not in known and is_hollow(item) for item in owner):
            owner.clear()
            add = owner.update if isinstance(owner, set) else owner.extend
            add(before)

    return put_back


def _emptied(cache: Any) -> None:
    """A function computes anew what it holds where one of its results became hollow."""
    if any(map(is_hollow, gc.get_referents(cache))):
        cache.cache_clear()
