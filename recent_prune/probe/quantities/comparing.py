"""Whether two results say the same."""

from __future__ import annotations

from dataclasses import fields
from typing import Any


def are_same(one: Any, other: object) -> bool:
    """Whether two results of a class have the same fields, among those that are compared.

    The one NaN object that results hold is itself: dataclasses said so until Python 3.13.
    """
    if type(one) is not type(other):
        return False
    kind: Any = type(one)
    names = [field.name for field in fields(kind) if field.compare]
    return [getattr(one, name) for name in names] == [getattr(other, name) for name in names]
