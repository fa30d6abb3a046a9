"""What code on fake tensors could write to besides its model, found and put back.

A cache that a forward pass fills, a module that a loss keeps a mean in, a backbone that a function
gives a new head: tensors without values that stay in one of them break the training after it.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn.parameter import is_lazy

from recent_prune.probe.restoring.interrupts import putting_back
from recent_prune.probe.restoring.isolation import put_where_it_was
from recent_prune.probe.restoring.reaching import (
    CACHE,
    CONTAINERS,
    attributes_of,
    is_own,
    names_in,
    reached,
)
from recent_prune.probe.restoring.training_state import contents_restored

LONGEST = 100_000
"""Items of a container that is put back."""
DEEPEST = 4
"""Containers within containers in which a tensor is looked for."""

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
    kept: list[_Kept] = []
    with ExitStack() as stack:
        for found in reached(called):
            if isinstance(found, torch.jit.ScriptModule):
                continue
            if isinstance(found, nn.Module):
                stack.enter_context(_module_restored(found))
            elif (keep := _keep(found)) is not None:
                kept.append(keep)
        try:
            yield
        finally:
            for keep in kept:
                keep.put_back()


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
        _KeptCache(cache).put_back()


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


class _Kept:
    """Named values of an owner, of which those that became hollow are put back."""

    def __init__(
        self,
        before: dict[Any, Any],
        now: Callable[[], dict[Any, Any]],
        put: Callable[[Any, Any], None],
    ) -> None:
        self._before, self._now, self._put = before, now, put

    def put_back(self) -> None:
        for key, value in self._now().items():
            before = self._before.get(key, _MISSING)
            if value is not before and is_hollow(value):
                self._put(key, before)


class _KeptItems(_Kept):
    """Items of a list, set or deque: all come back where one became hollow."""

    def __init__(self, owner: Any) -> None:
        self._owner, self._items = owner, list(owner)

    def put_back(self) -> None:
        known = {id(item) for item in self._items}
        if any(id(item) not in known and is_hollow(item) for item in self._owner):
            self._owner.clear()
            (self._owner.update if isinstance(self._owner, set) else self._owner.extend)(
                self._items
            )


class _KeptCache(_Kept):
    """Results of a function, which it computes anew where one became hollow."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    def put_back(self) -> None:
        if any(map(is_hollow, gc.get_referents(self._cache))):
            self._cache.cache_clear()


def _keep(found: Any) -> _Kept | None:
    """What is needed to put an object back; None where it holds nothing that is written to."""
    if type(found) is CACHE:
        return _KeptCache(found)
    if isinstance(found, FunctionType):
        names, known = names_in(found.__code__), found.__globals__
        return _kept_dict(known, lambda: {name: known[name] for name in names if name in known})
    if isinstance(found, type):
        return _Kept(dict(vars(found)), lambda: dict(vars(found)), _setter_of(found))
    if isinstance(found, CONTAINERS) and len(found) > LONGEST:
        return None
    if isinstance(found, dict):
        return _kept_dict(found, lambda: dict(found))
    if isinstance(found, (list, set, deque)):
        return _KeptItems(found)
    attributes = getattr(found, "__dict__", None)
    return _keep(attributes) if isinstance(attributes, dict) else None


def _kept_dict(owner: dict[Any, Any], now: Callable[[], dict[Any, Any]]) -> _Kept:
    def put(key: Any, value: Any) -> None:
        if value is _MISSING:
            del owner[key]
        else:
            owner[key] = value

    return _Kept(now(), now, put)


def _setter_of(owner: type) -> Callable[[Any, Any], None]:
    def put(key: Any, value: Any) -> None:
        if value is _MISSING:
            delattr(owner, key)
        else:
            setattr(owner, key, value)

    return put
