"""What code on fake tensors could write to besides its model, found and put back.

A cache that a forward pass fills, a module that a loss keeps a mean in, a backbone that a function
gives a new head: tensors without values that stay in one of them break the training after it.
"""

from __future__ import annotations

import functools
import gc
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

from recent_prune.probe.restoring.isolation import put_where_it_was
from recent_prune.probe.restoring.training_state import contents_restored

MOST = 5_000
"""Objects that are looked at."""
LONGEST = 1_000
"""Items of a container that are looked at."""
DEEPEST = 4
"""Containers within containers in which a tensor is looked for."""

_MISSING: Any = object()
_CACHE = functools._lru_cache_wrapper
_CONTAINERS = (dict, list, set, tuple, deque)


@contextmanager
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
        for found in _reached(called):
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
    for cache in [found for found in gc.get_objects() if type(found) is _CACHE]:
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
    elif isinstance(value, _CONTAINERS):
        inside = list(value)
    else:
        inside = _attributes(value).values() if _is_own(type(value)) else ()
    return any(is_hollow(item, depth - 1) for item in inside)


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    yield from module.parameters()
    yield from module.buffers()


@contextmanager
def _module_restored(module: nn.Module) -> Iterator[None]:
    """By itself, without its parts."""
    own = (*module.parameters(recurse=False), *module.buffers(recurse=False))
    tensors = [(t, t.detach(), t.requires_grad, t.grad) for t in own if t.is_leaf]
    with contents_restored([module]):
        yield
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
    if type(found) is _CACHE:
        return _KeptCache(found)
    if isinstance(found, FunctionType):
        names, known = _names(found.__code__), found.__globals__
        return _kept_dict(known, lambda: {name: known[name] for name in names if name in known})
    if isinstance(found, type):
        return _Kept(dict(vars(found)), lambda: dict(vars(found)), _setter_of(found))
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


def _reached(roots: Iterable[Any]) -> Iterator[Any]:
    """What code can reach by name, the nearest first."""
    waiting, seen = deque(roots), dict[int, Any]()
    while waiting and len(seen) < MOST:
        found = waiting.popleft()
        if id(found) not in seen:
            seen[id(found)] = found
            yield found
            waiting.extend(_next(found))


def _next(found: Any) -> Iterator[Any]:
    if isinstance(found, functools.partial):
        yield from (found.func, *found.args, *found.keywords.values())
    elif isinstance(found, MethodType):
        yield from (found.__func__, found.__self__)
    elif isinstance(found, (staticmethod, classmethod)):
        yield found.__func__
    elif isinstance(found, Tensor):
        return
    elif isinstance(found, property):
        yield from (found.fget, found.fset)
    elif isinstance(found, _CACHE):
        yield found.__wrapped__
    elif isinstance(found, FunctionType):
        yield from _of_function(found)
    elif isinstance(found, nn.Module):
        yield from (type(found), *found._modules.values())
        for value in vars(found).values():
            yield from value.values() if isinstance(value, dict) else (value,)
    elif isinstance(found, type):
        if _is_own(found):
            yield from (*vars(found).values(), *found.__bases__)
    elif isinstance(found, dict):
        yield from (*found.values(),)[:LONGEST]
    elif isinstance(found, _CONTAINERS):
        yield from (*found,)[:LONGEST]
    elif _is_own(type(found)):
        yield from (type(found), *_attributes(found).values())


def _of_function(function: FunctionType) -> Iterator[Any]:
    if not _is_own(function):
        return
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not set yet
            continue
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    yield from (getattr(function, "__wrapped__", None),)
    names = _names(function.__code__)
    for name in names:
        value = function.__globals__.get(name)
        if isinstance(value, ModuleType) and _is_own(value):
            yield from (vars(value)[inner] for inner in names if inner in vars(value))
        yield value


def _names(code: CodeType) -> set[str]:
    """Of what code looks up, that of its inner functions included."""
    inner = [_names(const) for const in code.co_consts if isinstance(const, CodeType)]
    return {*code.co_names, *(name for names in inner for name in names)}


def _attributes(value: Any) -> dict[str, Any]:
    own = getattr(value, "__dict__", None)
    return own if isinstance(own, dict) else {}


@functools.cache
def _is_library(name: str) -> bool:
    if name in sys.stdlib_module_names or name == "recent_prune":
        return True
    file = getattr(sys.modules.get(name), "__file__", None) or ""
    return "site-packages" in file or "dist-packages" in file


def _is_own(value: Any) -> bool:
    """Whether a class, function or module is the user's, and no library's."""
    name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
    return isinstance(name, str) and not _is_library(name.partition(".")[0])
