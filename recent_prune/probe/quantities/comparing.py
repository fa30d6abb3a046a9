"""Whether two results say the same."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any


def are_same(one: Any, other: object) -> bool:
    """Whether two results of a class have the same fields, among those that are compared."""
    if type(one) is not type(other):
        return False
    kind: Any = type(one)
    names = [field.name for field in fields(kind) if field.compare]
    return all(_equal(getattr(one, name), getattr(other, name)) for name in names)


def hash_of(one: Any) -> int:
    """The same of results that are the same."""
    known = [getattr(one, field.name) for field in fields(one) if field.compare]
    return hash(_hashable(known))


def _hashable(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return tuple(map(_hashable, value))
    return None if isinstance(value, float) and math.isnan(value) else value


def _equal(one: Any, other: Any) -> bool:
    """As ``==`` has it, but that NaN, which is what is not known, is the same as NaN."""
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    if isinstance(one, (tuple, list)) and isinstance(other, (tuple, list)):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)
