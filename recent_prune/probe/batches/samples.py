"""What of a batch are samples, what is to be reconstructed of them, and what is padding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d
from torch.nn.utils.rnn import PackedSequence

from recent_prune.probe.batches.calling import Arguments, names_of, target_of
from recent_prune.probe.batches.inputs import (
    LABEL_NAMES,
    MINIMUM_SAMPLES,
    first_tensor,
    named_parts,
)
from recent_prune.probe.batches.view import View

SIDE = 8
"""Images of unlike sizes are compared on a grid of so many places a side."""

_CHANNELS = (1, 3, 4)
"""Of an image: as a list of tensors with so many rows it is told from a list of arguments."""

_NOT_INPUTS = ("edge_index", "edge_attr", "edge_weight", "batch", "ptr", "num_nodes", "train_mask")
"""What a graph holds besides the features of its nodes."""


@dataclass
class Given:
    """What of a batch is given to a model, by name.

    Attributes:
        floating: What is to be reconstructed as it is: [n, …], or a list of n tensors.
        integers: Whether there are tokens or categories, for which the first activation behind
            them stands.
        view: Of its samples.
        shapes: Of every tensor that goes in, without the samples' axis.
    """

    floating: dict[str, Any] = field(default_factory=dict)
    integers: bool = False
    view: View = field(default_factory=lambda: View(0))
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)


def count_of(batch: Any) -> int:
    """Samples in a batch, by its first tensor, packed sequence, list of samples or graphs.

    Where there are as many targets as the first tensor has in its second axis, steps come first in
    it. Nodes of one graph are no samples.
    """
    if isinstance(batch, PackedSequence):
        return int(batch.batch_sizes[0])
    if isinstance(batch, Tensor):
        return len(batch) if batch.dim() else 0
    graphs = None if isinstance(batch, Mapping) else getattr(batch, "num_graphs", None)
    if isinstance(graphs, int):
        return graphs
    if is_list_of_samples(batch):
        return len(batch)
    counts = [count_of(part) for part in named_parts(batch).values()]
    first, target = first_tensor(batch), target_of(batch)
    if first is not None and isinstance(target, Tensor) and target.dim():
        if isinstance(batch, (tuple, list)) and _are_arguments(batch[0], len(target)):
            return len(target)
        in_a_row = first.dim() == 1  # such as all words of all texts
        steps_first = first.dim() > 1 and target.dim() == 1 and len(target) == first.shape[1]
        if in_a_row or (steps_first and len(target) != len(first)):
            return len(target)
    return next((count for count in counts if count), 0)


def check_count(batches: Sequence[Any]) -> None:
    """Refuse too few samples to fit on some and judge on others.

    Raises:
        ValueError: If there are fewer than 16.
    """
    count = sum(map(count_of, batches))
    if count >= MINIMUM_SAMPLES:
        return
    graph = " (the nodes of one graph are not independent of each other)"
    raise ValueError(
        f"`inputs` must hold at least {MINIMUM_SAMPLES} samples, but got {count}"
        f"{graph if hasattr(batches[0], 'edge_index') else ''}: a probe fits on some and judges on "
        "others."
    )


def is_list_of_samples(value: Any) -> bool:
    """Whether this holds a tensor for each sample: sequences of unlike lengths, or images."""
    if not isinstance(value, (tuple, list)) or not value:
        return False
    if not all(isinstance(item, Tensor) for item in value):
        return False
    dims, lengths = {t.dim() for t in value}, {len(t) for t in value if t.dim()}
    if len(dims) > 1 or dims == {0} or (dims == {1} and isinstance(value, tuple)):
        return False
    return len(lengths) > 1 or (dims == {3} and lengths <= set(_CHANNELS))


def _are_arguments(value: Any, count: int) -> bool:
    """Whether what looks like a list of samples is one of inputs, by the number of targets."""
    if not is_list_of_samples(value) or len(value) == count:
        return False
    return any(len(item) == count for item in value if item.dim())


def given_to(
    model: nn.Module, batch: Any, arguments: Arguments | None, *, has_target: bool = True
) -> Given:
    """What is to be reconstructed of a batch, and how its samples lie.

    Args:
        model: That is called.
        batch: On the model's device.
        arguments: With which it is called; None where a function of the user's calls it: then all
            of the batch but its target.
        has_target: Whether the last of a tuple is known to be the target then; if not, it is none
            where it is like the first: one of a pair, or of three, that are compared.

    Raises:
        ValueError: If a mask leaves nothing of a sample.
    """
    given = Given()
    masks: list[Tensor] = []
    count = count_of(batch)
    for name, value in _leaves(model, batch, arguments, has_target, count):
        tensor = value.data if isinstance(value, PackedSequence) else value
        given.shapes[name] = _shape(value)
        if isinstance(tensor, Tensor) and "mask" in name.lower():
            if tensor.dim() == 2 and len(tensor) == count and not _is_causal(tensor):
                masks.append(_real_positions(name, tensor))
        elif isinstance(tensor, Tensor) and not (tensor.is_floating_point() or tensor.is_complex()):
            given.integers |= tensor.dtype != torch.bool
        else:
            given.floating[name] = value
    graphs = None if isinstance(batch, Mapping) else getattr(batch, "batch", None)
    lies = isinstance(graphs, Tensor) and isinstance(getattr(batch, "num_graphs", None), int)
    given.view = View(count, tuple(masks), graphs if lies else None)
    return given


def rows_of(value: Any, view: View, *, pooled: bool) -> Tensor | None:
    """A floating input by sample, [n, …]; None where it has no axis of samples.

    Args:
        value: A tensor, a packed sequence, or a list of a tensor for each sample.
        view: Of the samples.
        pooled: Whether its shape differs from batch to batch, or has padded positions.
    """
    if is_list_of_samples(value):
        return torch.cat([_alike(item[None], View(1)) for item in value])
    tensor = value.data if isinstance(value, PackedSequence) else value
    found = view.of(value, tensor) if isinstance(tensor, Tensor) else None
    if found is None and isinstance(tensor, Tensor) and tensor.shape == (view.count,):
        found = tensor[:, None]  # one number a sample
    if found is None or not pooled:
        return found
    return _alike(found, view)


def _alike(inputs: Tensor, view: View) -> Tensor:
    """Images [n, c, h, w] on a small grid, sequences [n, t, d] summed up."""
    return adaptive_avg_pool2d(inputs, SIDE) if inputs.dim() == 4 else view.over_positions(inputs)


def _real_positions(name: str, mask: Tensor) -> Tensor:
    """Where a mask leaves them.

    PyTorch's ``*_key_padding_mask``, and what else is called after padding, is true or positive
    where there is padding, unless it leaves nothing anywhere else; others are so where not. What
    is added has zeros there, and −∞ or the like elsewhere.
    """
    if "pad" in name.lower():
        real = mask == 0
        if "padding" not in name.lower() and not _is_plausible(real) and _is_plausible(~real):
            real = ~real
    elif mask.dtype == torch.bool:
        real = mask
    else:
        real = mask > 0 if bool((mask > 0).any()) else (mask == 0) & mask.is_floating_point()
    empty = (~real.any(dim=1)).nonzero().flatten()
    if len(empty):
        raise ValueError(
            f"`{name}` must leave at least one position of each sample, but masks all "
            f"{mask.shape[1]} of {len(empty)} of {len(mask)} samples."
        )
    return real


def _is_plausible(real: Tensor) -> bool:
    """Whether each sample has a real position, and each position is real in some sample."""
    return bool(real.any(dim=1).all() and real.any(dim=0).all())


def _is_causal(mask: Tensor) -> bool:
    """Whether a mask is of positions by positions: each sees those before it."""
    if mask.shape[0] != mask.shape[1]:
        return False
    before = torch.ones_like(mask, dtype=torch.bool).tril()
    return torch.equal(mask != 0, before) or torch.equal(mask == 0, before)


def _leaves(
    model: nn.Module, batch: Any, arguments: Arguments | None, has_target: bool, count: int
) -> Iterator[tuple[str, Any]]:
    """What goes in, by name: tensors, packed sequences and lists of samples, no targets."""
    if arguments is None:
        several = isinstance(batch, (tuple, list)) and len(batch) > 1
        compared = several and not has_target and _like_the_first(batch[-1], tuple(batch))
        whole = batch[:-1] if several and not compared else batch
        if compared and isinstance(batch[0], (tuple, list)):  # of several loaders, say
            whole = [
                part[:-1] if isinstance(part, (tuple, list)) and len(part) > 1 else part
                for part in batch
            ]
        yield from _inside("", {"input": whole} if _is_single(whole, count) else whole, count)
        return
    names = names_of(model, len(arguments.args))
    for name, value in [*zip(names, arguments.args, strict=True), *arguments.kwargs.items()]:
        is_target = value is arguments.target and not _like_the_first(value, arguments.args)
        if name not in LABEL_NAMES and not is_target:
            yield from _inside(name, _without_target(value, arguments.target, count), count)


def _without_target(value: Any, target: Any, count: int) -> Any:
    """Of a batch that goes in whole, as one argument, what stands before the target."""
    whole = isinstance(value, (tuple, list)) and len(value) > 1 and not _is_single(value, count)
    return value[:-1] if whole and value[-1] is target else value


def _like_the_first(value: Any, args: tuple[Any, ...]) -> bool:
    """Whether the last argument is another view of the first, where a loss compares the two."""
    first = args[0] if len(args) > 1 else None
    if isinstance(first, (tuple, list)) and isinstance(value, (tuple, list)):
        alike = first is not value and len(first) == len(value) > 0
        return alike and all(
            isinstance(one, Tensor) and isinstance(other, Tensor) and _are_alike(one, other)
            for one, other in zip(first, value, strict=True)
        )
    if not isinstance(first, Tensor) or not isinstance(value, Tensor):
        return False
    return first.is_floating_point() and _are_alike(first, value)


def _are_alike(one: Tensor, other: Tensor) -> bool:
    return (one.shape, one.dtype) == (other.shape, other.dtype)


def _inside(name: str, value: Any, count: int) -> Iterator[tuple[str, Any]]:
    if _is_single(value, count):
        yield name, value
        return
    for key, item in named_parts(value).items():
        if key not in LABEL_NAMES and key not in _NOT_INPUTS:
            yield from _inside(f"{name}.{key}" if name else key, item, count)


def _is_single(value: Any, count: int) -> bool:
    """A list of samples has as many as there are targets."""
    if isinstance(value, (Tensor, PackedSequence)):
        return True
    return is_list_of_samples(value) and not _are_arguments(value, count)


def _shape(value: Any) -> tuple[int, ...]:
    """Without the samples' axis."""
    if isinstance(value, Tensor):
        return tuple(value.shape[1:])
    return () if isinstance(value, PackedSequence) else tuple(sorted({t.shape for t in value}))
