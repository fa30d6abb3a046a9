"""How a training loop calls its model with a batch, and where the target is.

The conventions, of which the first that fits is taken:

- a mapping: its target is what it calls so (``labels``, ``label``, ``targets``, ``target``, ``y``);
  where all other keys are arguments of the model's ``forward`` they go in as keywords, else the
  one tensor that is meant goes in alone;
- a tuple or list: the last is the target, all others are arguments;
- a tensor: the one argument, without a target.

Where the model returns its own loss, the target goes in with the rest.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from recent_prune.probe.batches.inputs import LABEL_NAMES, inputs_of


@dataclass(frozen=True)
class Arguments:
    """How a model is called with a batch.

    Attributes:
        args: Positional.
        kwargs: By name.
        target: None where there is none. Where the model returns its own loss it is among the
            arguments, too.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    target: Any = None


def arguments(model: nn.Module, batch: Any, *, own_loss: bool = False) -> Arguments:
    """What a model is called with, by the conventions of this module.

    Args:
        model: That is called.
        batch: As the loader yields it.
        own_loss: Whether the model returns its own loss, and so gets the target too.

    Raises:
        TypeError: If the batch fits none of the conventions.
        ValueError: If a mapping does not tell which of its tensors is meant.
    """
    if isinstance(batch, Mapping):
        return _from_mapping(model, batch, own_loss)
    if isinstance(batch, Tensor):
        return Arguments((batch,), {})
    if isinstance(batch, (tuple, list)) and batch:
        target = target_of(batch)
        whole = own_loss or len(batch) == 1
        return Arguments(tuple(batch if whole else batch[:-1]), {}, target)
    raise TypeError(
        f"A batch must be a tensor, a tuple, a list or a mapping, but got {type(batch).__name__}: "
        "say how the model is called with it, Training(…, call=lambda model, batch: …)."
    )


def _from_mapping(model: nn.Module, batch: Mapping[str, Any], own_loss: bool) -> Arguments:
    named = next((name for name in LABEL_NAMES if name in batch), None)
    rest = {k: v for k, v in batch.items() if own_loss or k != named}
    target = target_of(batch)
    if _accepts(model, rest):
        return Arguments((), rest, target)
    meant = inputs_of(batch)
    if meant is None:
        raise TypeError(f"A batch must hold a tensor, but got a mapping of {sorted(batch)}.")
    return Arguments((meant,), {}, target)


def target_of(batch: Any) -> Any:
    """What a batch has for a target, by the conventions of this module; None where it has none."""
    if isinstance(batch, Mapping):
        return next((batch[name] for name in LABEL_NAMES if name in batch), None)
    return batch[-1] if isinstance(batch, (tuple, list)) and len(batch) > 1 else None


def _accepts(model: nn.Module, names: Mapping[str, Any]) -> bool:
    parameters = inspect.signature(model.forward).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        # Such as a wrapper: the names that it passes on are unknown, and "x" would be a guess.
        return bool(names)
    return set(names) <= {p.name for p in parameters if p.kind is not p.POSITIONAL_ONLY}


def moved(value: Any, device: torch.device) -> Any:
    """A batch on a device: what can be moved in (nested) tuples, lists, mappings, dataclasses."""
    if isinstance(value, Mapping):
        return {key: moved(item, device) for key, item in value.items()}
    if isinstance(value, Tensor):
        # A copy also where it lies there: a model may change its input in place, and what is from
        # inference mode could not be saved for the way back.
        return value.to(device, copy=True)
    if hasattr(value, "to"):  # a packed sequence, a graph
        return value.to(device)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(moved(item, device) for item in value))
    if isinstance(value, (tuple, list)):
        return type(value)(moved(item, device) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        parts = {f.name: moved(getattr(value, f.name), device) for f in fields(value) if f.init}
        return replace(value, **parts)
    return value
