"""What the functions of a training are bound to: closures, objects, modules beside the model."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from types import CellType, FunctionType
from typing import Any

from torch import nn

from recent_prune.probe.restoring.interrupts import putting_back
from recent_prune.probe.restoring.objects import attributes_restored
from recent_prune.probe.restoring.reaching import ATOMS, MOST, is_own, modules_beside, parts_of

_OF_MODULES = frozenset(vars(nn.Module()))


@putting_back
def bound_restored(model: nn.Module, called: Iterable[Any]) -> Iterator[None]:
    """Put back what functions are bound to, and what the model keeps in objects of the user's.

    What they are bound to are closures, defaults, the objects whose methods they are, and modules
    that they name. Not what else is global, nor, where other threads run that may write to it as
    well, anything but the modules: what these wrote in the meantime would be lost.

    Args:
        model: Whose parameters, attributes and containers are looked after elsewhere.
        called: Functions, methods and objects that are called; None among them.
    """
    functions = list(called)
    cells, values = _bound(functions) if _is_alone() else ([], [])
    former = [(cell, cell.cell_contents) for cell in cells]
    held = [*modules_beside(model, functions), *values, *_kept_by(model)]
    try:
        with attributes_restored(values=held, model=model):
            yield
    finally:
        for cell, content in former:
            if not isinstance(content, Iterator):  # which has come to its end
                cell.cell_contents = content


def _is_alone() -> bool:
    own = threading.current_thread()
    return all(thread is own or thread.daemon for thread in threading.enumerate())


def _kept_by(model: nn.Module) -> Iterator[Any]:
    """What a model keeps beside its modules, parameters, buffers and hooks."""
    for module in model.modules():
        for name, value in vars(module).items():
            if name not in _OF_MODULES and type(value) not in ATOMS:
                yield value


def _bound(functions: Iterable[Any]) -> tuple[list[CellType], list[Any]]:
    """Cells of closures, and what functions are bound to."""
    cells: list[CellType] = []
    found: list[Any] = []
    waiting, seen = list(functions), set[int]()
    while waiting and len(seen) < MOST:
        each = waiting.pop()
        if type(each) in ATOMS or id(each) in seen:
            continue
        seen.add(id(each))
        parts = parts_of(each)
        if parts:
            waiting += parts
        elif isinstance(each, FunctionType):
            if is_own(each):
                known = [cell for cell in each.__closure__ or () if _is_set(cell)]
                cells += known
                waiting += (cell.cell_contents for cell in known)
                waiting += (*(each.__defaults__ or ()), *(each.__kwdefaults__ or {}).values())
        elif not isinstance(each, type):
            found.append(each)
    return cells, found


def _is_set(cell: CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False
