"""Results as plain JSON types: NaN is null, infinity a text."""

from __future__ import annotations

import math
from collections.abc import Mapping
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
