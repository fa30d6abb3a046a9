"""Results as plain JSON types: NaN is null, infinity a text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

OPTIONAL = {
    "nonfinite_layer",
    "gradients",
    "update_ratio",
    "steps",
    "before",
    "budget",
    "nonfinite_step",
    "critical_rate",
}
"""Fields in which null is not a NaN."""


def are_same(one: Any, other: object) -> bool:
    """Whether two results of a class have the same fields, among those that are compared.

    The one NaN object that results hold is itself: dataclasses said so until Python 3.13.
    """
    if type(one) is not type(other):
        return False
    kind: Any = type(one)
    names = [field.name for field in fields(kind) if field.compare]
    return [getattr(one, name) for name in names] == [getattr(other, name) for name in names]


def to_json(value: Any) -> Any:
    """A value of a result as JSON takes it."""
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [to_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


def from_json(name: str, value: Any) -> Any:
    """The reverse of `to_json`, for the field of that name."""
    if isinstance(value, Mapping):
        return {key: from_json(key, item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(from_json("", item) for item in value)
    if value is None and name not in OPTIONAL:
        return math.nan
    return float(value) if value in ("inf", "-inf") else value
