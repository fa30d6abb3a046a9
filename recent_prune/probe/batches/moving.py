"""A batch of any kind: on another device, of the same type, and in a few words."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from recent_prune.probe.batches.inputs import first_tensor, named_parts


def holds_tensors(value: Any) -> bool:
    """Whether this is an object of the user's, or of a library, with tensors in its attributes."""
    plain = (str, bytes, int, float, bool, complex, type(None), type, nn.Module)
    if isinstance(value, plain) or callable(value):
        return False
    return first_tensor(value) is not None


def moved(value: Any, device: torch.device) -> Any:
    """A batch on a device: what can be moved in (nested) tuples, lists, mappings, dataclasses."""
    if isinstance(value, Mapping):
        return with_items(value, {key: moved(item, device) for key, item in value.items()})
    if isinstance(value, Tensor):
        # A copy also where it lies there: a model may change its input in place, and what is from
        # inference mode could not be saved for the way back.
        return value.to(device, copy=True)
    if isinstance(value, PackedSequence):
        data, sizes, *indices = value
        there = [None if index is None else index.to(device) for index in indices]
        return PackedSequence(data.to(device, copy=True), sizes, *there)
    if hasattr(value, "to") and not isinstance(value, nn.Module):  # such as a graph
        copied = value.clone() if hasattr(value, "clone") else _copied(value, None)
        return copied.to(device)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(moved(item, device) for item in value))
    if isinstance(value, (tuple, list)):
        return type(value)(moved(item, device) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        parts = {f.name: moved(getattr(value, f.name), device) for f in fields(value) if f.init}
        return replace(value, **parts)
    return _copied(value, device) if holds_tensors(value) else value


def with_items(value: Mapping[Any, Any], items: dict[Any, Any]) -> Mapping[Any, Any]:
    """A mapping of the same type: models and training steps read some as objects, too."""
    if type(value) is dict:
        return items
    try:
        copied: Any = copy.copy(value)
        copied.update(items)
    except Exception:  # such as one that cannot be changed
        return items
    return copied  # type: ignore[no-any-return]


def _copied(value: Any, device: torch.device | None) -> Any:
    """With tensors of its own: a model may write to a graph that it is given."""
    copied = copy.copy(value)
    for name, item in list(getattr(copied, "__dict__", {}).items()):
        if isinstance(item, Tensor):
            setattr(copied, name, item.clone() if device is None else item.to(device, copy=True))
    return copied


def described(batch: Any) -> str:
    """A batch in a few words: shapes, data types and names."""
    if isinstance(batch, Tensor):
        return f"{tuple(batch.shape)} {str(batch.dtype).removeprefix('torch.')}"
    if isinstance(batch, Mapping):
        return ", ".join(f"{key}: {described(value)}" for key, value in batch.items())
    if isinstance(batch, (tuple, list)):
        return ", ".join(map(described, batch[:8]))
    parts = {k: v for k, v in named_parts(batch).items() if isinstance(v, Tensor)}
    return f"{type(batch).__name__}({described(parts)})" if parts else type(batch).__name__
