"""What code of the user's can reach by name: closures, defaults, globals, and what these hold."""

from __future__ import annotations

import functools
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from torch import Tensor, nn

MOST = 5_000
"""Objects that are looked at."""
LONGEST = 1_000
"""Items of a container that are looked at."""

CACHE = functools._lru_cache_wrapper
CONTAINERS = (dict, list, set, tuple, deque)
ATOMS = frozenset((str, bytes, int, float, complex, bool, type(None)))


def reached(roots: Iterable[Any]) -> Iterator[Any]:
    """What code can reach by name, the nearest first."""
    waiting, seen = deque(roots), dict[int, Any]()
    while waiting and len(seen) < MOST:
        found = waiting.popleft()
        if type(found) not in ATOMS and id(found) not in seen:
            seen[id(found)] = found
            yield found
            waiting.extend(_next_to(found))


def parts_of(called: Any) -> tuple[Any, ...]:
    """Of a partial its function and arguments, of a method its function and object."""
    if isinstance(called, functools.partial):
        return (called.func, *called.args, *called.keywords.values())
    return (called.__func__, called.__self__) if isinstance(called, MethodType) else ()


def _next_to(found: Any) -> list[Any]:
    try:
        return list(_next(found))
    except Exception:  # of a proxy whose object is gone, or one that answers for another
        return []


def _next(found: Any) -> Iterator[Any]:
    if isinstance(found, Tensor):
        return
    if isinstance(found, (functools.partial, MethodType)):
        yield from parts_of(found)
    elif isinstance(found, (staticmethod, classmethod)):
        yield found.__func__
    elif isinstance(found, property):
        yield from (found.fget, found.fset)
    elif isinstance(found, CACHE):
        yield found.__wrapped__
    elif isinstance(found, FunctionType):
        yield from _of_function(found)
    elif isinstance(found, nn.Module):
        yield from (type(found), *found._modules.values())
        for value in vars(found).values():
            yield from value.values() if isinstance(value, dict) else (value,)
    elif isinstance(found, type):
        if is_own(found):
            yield from (*vars(found).values(), *found.__bases__)
    elif isinstance(found, dict):
        yield from islice(found.values(), LONGEST)
    elif isinstance(found, CONTAINERS):
        yield from islice(found, LONGEST)
    elif is_own(type(found)):
        yield from (type(found), *attributes_of(found).values())


def _of_function(function: FunctionType) -> Iterator[Any]:
    if not is_own(function):
        return
    yield from _named_by(function)
    yield from (getattr(function, "__wrapped__", None),)
    names = names_in(function.__code__)
    for name in names:
        value = function.__globals__.get(name)
        if isinstance(value, ModuleType) and is_own(value):
            yield from (vars(value)[inner] for inner in names if inner in vars(value))


def _named_by(function: FunctionType) -> Iterator[Any]:
    """Its closure, its defaults, and the globals that it names."""
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not set yet
            continue
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    known = function.__globals__
    yield from (known[name] for name in names_in(function.__code__) if name in known)


def names_in(code: CodeType) -> set[str]:
    """Of what code looks up, that of its inner functions included."""
    inner = [names_in(const) for const in code.co_consts if isinstance(const, CodeType)]
    return {*code.co_names, *(name for names in inner for name in names)}


def attributes_of(value: Any) -> dict[str, Any]:
    """Its own; none of what has no dictionary of them."""
    own = getattr(value, "__dict__", None)
    return own if isinstance(own, dict) else {}


@functools.cache
def _is_library(name: str) -> bool:
    if name == "__main__":  # in a worker of Ray's it lies with the libraries
        return False
    if name in sys.stdlib_module_names or name == "recent_prune":
        return True
    file = getattr(sys.modules.get(name), "__file__", None) or ""
    return "site-packages" in file or "dist-packages" in file


def is_own(value: Any) -> bool:
    """Whether a class, function or module is the user's, and no library's."""
    name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
    return isinstance(name, str) and not _is_library(name.partition(".")[0])


def modules_beside(model: nn.Module, called: Iterable[Any]) -> list[nn.Module]:
    """Modules that functions call by name, besides those of a model: a loss, a mean of the model.

    Only what functions name themselves: what lies deeper, in a registry, say, others may train.

    Args:
        model: That is trained.
        called: Functions, methods and modules that run beside it.
    """
    named = list(called)
    for each in named:  # which grows
        named += parts_of(each)
    for function in [each for each in named if isinstance(each, FunctionType) and is_own(each)]:
        named += _named_by(function)
    known = dict.fromkeys(map(id, model.modules()))
    found: list[nn.Module] = []
    for each in named:
        if issubclass(type(each), nn.Module):
            for module in each.modules():
                if id(module) not in known:
                    known[id(module)] = None
                    found.append(module)
    return found
