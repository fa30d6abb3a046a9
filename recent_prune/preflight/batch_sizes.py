"""A batch of another size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from recent_prune.probe.batches.moving import with_items
from recent_prune.probe.batches.samples import count_of, is_list_of_samples


def resized(batch: Any, size: int) -> Any | None:
    """The same batch with another number of samples: cut, or repeated.

    Args:
        batch: As the loader yields it.
        size: Samples, ≥ 1.

    Returns:
        None where it cannot be told what a sample is: of graphs, packed sequences, and objects of
        other libraries.
    """
    count = count_of(batch)
    if count == size:
        return batch
    try:
        return _resized(batch, count, size) if count else None
    except _UnknownSamplesError:
        return None


class _UnknownSamplesError(Exception):
    """What a sample is cannot be told."""


def _resized(value: Any, count: int, size: int) -> Any:
    if isinstance(value, PackedSequence):  # which is a named tuple, too
        raise _UnknownSamplesError
    if type(value) is Tensor or isinstance(value, torch.nn.Parameter):
        if value.dim() == 0 or len(value) != count:
            return value
        return value[:size] if size <= count else value[torch.arange(size) % count]
    if is_list_of_samples(value) and len(value) == count:
        return type(value)(value[place % count] for place in range(size))
    if isinstance(value, Mapping):
        return with_items(value, {k: _resized(item, count, size) for k, item in value.items()})
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_resized(item, count, size) for item in value))
    if type(value) in (tuple, list):
        if len(value) == count and all(isinstance(item, Mapping) for item in value):
            return type(value)(value[place % count] for place in range(size))  # boxes of images
        return type(value)(_resized(item, count, size) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        parts = {f.name: _resized(getattr(value, f.name), count, size) for f in fields(value)}
        return replace(value, **parts)
    if isinstance(value, (str, bytes, int, float, bool, type(None))):
        return value
    raise _UnknownSamplesError
