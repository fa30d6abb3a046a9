"""How a training loop calls its model with a batch, and where the target is.

The conventions, of which the first that fits is taken:

- a mapping (or a dataclass): its target is what it calls so (``labels``, ``label``, ``targets``,
  ``target``, ``y``); where all that ``forward`` needs is among the other keys, those that it knows
  go in as keywords; where ``forward`` takes a whole batch (its only argument is annotated as a
  mapping, or called ``batch``, ``data``, ``features``, ``sample``, …) the mapping goes in as it is;
  else the one tensor that is meant goes in alone;
- a tuple or list: the last is the target, all others are arguments, as many as ``forward`` takes
  (of ``(image, label, index)`` for one argument the second is the target); if it needs all of them
  there is no target. A tuple, list or mapping of inputs in first place, ``((a, b), y)``, is spread
  where ``forward`` needs several arguments;
- a tensor, a packed sequence, or any other object that holds tensors (a graph): the one argument;
  the target is the object's attribute of such a name.

Where the model returns its own loss, the target goes in with the rest: of a tuple or list as one
argument, where ``forward`` takes no other and calls it so as above. Without a loss a model of one
argument that raises on the inputs alone gets the whole tuple or list: it may take its batches apart
itself.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from recent_prune.probe.batches.inputs import LABEL_NAMES, inputs_of
from recent_prune.probe.batches.moving import holds_tensors

_WHOLE = {
    *("batch", "data", "features", "sample", "samples", "example", "examples", "item", "items"),
    *("batch_dict", "input_dict", "data_dict", "feed", "records", "graph", "graphs"),
}
"""What an argument is called that takes a whole batch."""


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
    if isinstance(batch, (Tensor, PackedSequence)):
        return Arguments((batch,), {})
    if isinstance(batch, (tuple, list)):
        if batch:
            return _from_sequence(model, batch, own_loss)
    elif is_dataclass(batch) and not isinstance(batch, type):
        known = {f.name: getattr(batch, f.name) for f in fields(batch)}
        rest = {k: v for k, v in known.items() if own_loss or k not in LABEL_NAMES}
        kwargs = _known(model, rest)
        return Arguments(() if kwargs else (batch,), kwargs, target_of(batch))
    elif holds_tensors(batch):
        return Arguments((batch,), {}, target_of(batch))
    raise TypeError(
        f"A batch must be a tensor, a tuple, a list, a mapping or an object that holds tensors, "
        f"but got {type(batch).__name__}. {way_out(model)}"
    )


Call = Callable[[nn.Module, Any], Any]
"""From the model and a batch to its output (or to the loss, where the model returns its own)."""


@dataclass(frozen=True)
class Calling:
    """How a model is called with each batch.

    Attributes:
        call: A function of the user's, or None: by the conventions.
        own_loss: Whether the model returns its own loss, and so gets the target too. With ``call``
            it is not known then whether the last of a tuple is a target.
        whole: Whether it gets each batch as it is.
    """

    call: Call | None = None
    own_loss: bool = False
    whole: bool = False

    def arguments(self, model: nn.Module, batch: Any) -> Arguments | None:
        """What goes in; None where a function of the user's calls it."""
        if self.call is not None:
            return None
        if self.whole:
            return Arguments((batch,), {}, target_of(batch))
        return arguments(model, batch, own_loss=self.own_loss)

    def single(self, model: nn.Module, batch: Any) -> Tensor | None:
        """What goes in, where it is one tensor alone, in first place."""
        given = self.arguments(model, batch)
        if given is None or not set(given.kwargs) <= set(names_of(model, 1)):
            return None
        parts = [*given.args, *given.kwargs.values()]
        return parts[0] if len(parts) == 1 and isinstance(parts[0], Tensor) else None

    def other(self, model: nn.Module, batch: Any) -> Calling | None:
        """How else a model may be called that could not be called so; None if in no other way."""
        if self.call is not None:
            return None
        if isinstance(batch, Mapping):
            given = [arguments(model, batch, own_loss=own).kwargs for own in (False, True)]
            return replace(self, own_loss=True) if len(given[1]) > len(given[0]) else None
        several = isinstance(batch, (tuple, list)) and len(batch) > 1
        return replace(self, whole=True) if several and _capacity(model)[1] == 1 else None

    def __call__(self, model: nn.Module, batch: Any) -> Any:
        """The model's output."""
        given = self.arguments(model, batch)
        if given is None:
            assert self.call is not None
            return self.call(model, batch)
        return model(*given.args, **given.kwargs)


def way_out(model: nn.Module) -> str:
    """The signature that a batch must fit, and what to write where it does not."""
    return (
        f"The model is called as {type(model).__name__}{_shown(model)}: say how with a batch, "
        "call=lambda model, batch: model(…)."
    )


def _from_mapping(model: nn.Module, batch: Mapping[str, Any], own_loss: bool) -> Arguments:
    named = next((name for name in LABEL_NAMES if name in batch), None)
    target = target_of(batch)
    without = {k: v for k, v in batch.items() if k != named}
    known = _known(model, dict(batch) if own_loss else without)
    if known:
        return Arguments((), known, target)
    if _takes_whole(model):
        return Arguments((batch,), {}, target)
    try:
        meant = inputs_of(batch)
    except ValueError as error:
        error.add_note(way_out(model))
        raise
    if meant is None:
        raise TypeError(
            f"A batch must hold a tensor, but got a mapping of {sorted(batch)}. {way_out(model)}"
        )
    return Arguments((meant,), {}, target)


def _from_sequence(model: nn.Module, batch: Any, own_loss: bool) -> Arguments:
    least, most = _capacity(model)
    count, first = len(batch), batch[0]
    if own_loss and most == 1 < count and _takes_whole(model):
        return Arguments((batch,), {}, target_of(batch))
    if own_loss or count == 1:
        return Arguments(tuple(batch), {}, target_of(batch))
    if count == 2 and isinstance(first, Mapping) and _known(model, first):
        return Arguments((), _known(model, first), batch[1])
    if count == 2 and least > 1 and type(first) in (tuple, list) and len(first) >= least:
        return Arguments(tuple(first), {}, batch[1])
    if least == count:
        return Arguments(tuple(batch), {})
    taken = min(count - 1, max(most, 1))
    return Arguments(tuple(batch[:taken]), {}, batch[taken])


def target_of(batch: Any) -> Any:
    """What a batch has for a target, by the conventions of this module; None where it has none."""
    if isinstance(batch, Mapping):
        return next((batch[name] for name in LABEL_NAMES if name in batch), None)
    if isinstance(batch, (Tensor, PackedSequence)):
        return None
    if isinstance(batch, (tuple, list)):
        return batch[-1] if len(batch) > 1 else None
    known = (getattr(batch, name, None) for name in LABEL_NAMES)
    return next((value for value in known if isinstance(value, Tensor)), None)


def _capacity(model: nn.Module) -> tuple[int, float]:
    """How many positional arguments ``forward`` needs, and takes."""
    known = _parameters(model)
    if known is None:
        return 0, math.inf
    placed = [p for p in known if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    least = sum(p.default is p.empty for p in placed)
    endless = any(p.kind is p.VAR_POSITIONAL for p in known)
    return least, math.inf if endless else len(placed)


def _known(model: nn.Module, names: Mapping[str, Any]) -> dict[str, Any]:
    """Those that ``forward`` knows, if it needs no others; empty if it does."""
    parameters = _parameters(model)
    if not names or parameters is None or not all(isinstance(name, str) for name in names):
        return {}
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        # Such as a wrapper: the names that it passes on are unknown, and "x" would be a guess.
        return dict(names)
    known = [p for p in parameters if p.kind not in (p.POSITIONAL_ONLY, p.VAR_POSITIONAL)]
    placed = [p for p in parameters if p.kind is p.POSITIONAL_ONLY]
    needed = {p.name for p in [*known, *placed] if p.default is p.empty}
    kept = {name: names[name] for name in names if name in {p.name for p in known}}
    return kept if needed <= set(kept) else {}


def _takes_whole(model: nn.Module) -> bool:
    parameters = _parameters(model)
    if parameters is None:
        return False
    needed = [p for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    if len(needed) != 1:
        return False
    told = str(needed[0].annotation).lower()
    return needed[0].name in _WHOLE or any(part in told for part in ("dict", "mapping", "encoding"))


def _parameters(model: nn.Module) -> list[inspect.Parameter] | None:
    """Of ``forward``; None where it does not tell."""
    try:
        return list(inspect.signature(model.forward).parameters.values())
    except (TypeError, ValueError):  # such as scripted ones
        return None


def _shown(model: nn.Module) -> str:
    try:
        signature = inspect.signature(model.forward)
    except (TypeError, ValueError):  # such as scripted ones
        return "(…)"
    return str(signature.replace(return_annotation=signature.empty))


def names_of(model: nn.Module, count: int) -> list[str]:
    """Of the first positional arguments of ``forward``; numbers where it does not tell."""
    known = _parameters(model) or []
    placed = [p.name for p in known if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return [placed[i] if i < len(placed) else f"argument {i + 1}" for i in range(count)]
