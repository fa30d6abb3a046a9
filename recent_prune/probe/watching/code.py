"""What the code of a model's own modules names."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from types import FunctionType

from torch import nn


def names_in_code(modules: Sequence[nn.Module]) -> set[str]:
    """What the methods of users' modules name, and the helpers that they call."""
    kinds = {c for module in modules for c in type(module).__mro__}
    own = [c for c in kinds if not c.__module__.startswith(("torch.", "builtins"))]
    functions = [
        found
        for name, value in ((n, v) for c in own for n, v in vars(c).items())
        if name != "__init__" and isinstance(found := _function(value), FunctionType)
    ]
    helpers = [
        found
        for function in functions
        for name in function.__code__.co_names
        if isinstance(found := function.__globals__.get(name), FunctionType)
        and not str(found.__module__).startswith("torch.")
    ]
    return {name for f in (*functions, *helpers) for name in f.__code__.co_names}


def _function(attribute: object) -> object:
    """What is inside of decorators, of a method."""
    plain = getattr(attribute, "__func__", attribute)
    return inspect.unwrap(plain) if isinstance(plain, FunctionType) else plain
