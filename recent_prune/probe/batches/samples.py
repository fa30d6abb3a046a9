"""What of a batch are samples, what is to be reconstructed of them, and what is padding."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, pad
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from recent_prune.probe.batches.calling import Arguments, names_of, target_of
from recent_prune.probe.batches.inputs import (
    LABEL_NAMES,
    MINIMUM_SAMPLES,
    first_tensor,
    named_parts,
)

SIDE = 8
"""Images of unlike sizes are compared on a grid of so many places a side."""

LEAST_ID = -(2**62)

_CHANNELS = (1, 3, 4)
_NOT_INPUTS = ("edge_index", "edge_attr", "edge_weight", "batch", "ptr", "num_nodes", "train_mask")


@dataclass(frozen=True)
class View:
    """How the samples of one batch lie in its tensors.

    Attributes:
        count: Samples.
        mask: Which positions are real, [n, t], where a mask was passed.
        graphs: Of each node the number of its graph, [nodes], where samples are graphs.
    """

    count: int
    mask: Tensor | None = None
    graphs: Tensor | None = None

    def of(self, value: Any, tensor: Tensor) -> Tensor | None:
        """Activations by sample.

        Args:
            value: What a module gave or got.
            tensor: The first tensor in it.

        Returns:
            [n, …] as it is, [t, n, …] as [n, t, …]; of packed sequences and of nodes the sum over
            each sample's own, / √ of their number; None for what is no activation of n samples.
            Complex numbers are two real ones.
        """
        if tensor.is_complex():
            tensor = torch.view_as_real(tensor).flatten(-2) if tensor.dim() else tensor.real
        if not tensor.is_floating_point():
            return None
        packed = next(_packed(value), None)
        if packed is not None and packed.data.is_floating_point():
            padded, lengths = pad_packed_sequence(packed, batch_first=True)
            return padded.sum(dim=1) / lengths.to(padded)[:, None].sqrt()
        if tensor.dim() < 2:
            return None
        if self.graphs is not None and len(tensor) == len(self.graphs):
            return self._by_graph(tensor)
        if len(tensor) == self.count:
            return tensor
        second = tensor.dim() > 2 and tensor.shape[1] == self.count
        return tensor.transpose(0, 1) if second else None

    def merged(self, tensor: Tensor) -> tuple[Tensor, Tensor] | None:
        """Activations [k · n, …], in which another axis is merged with that of the samples.

        Returns:
            Both ways in which they may lie, [n, k, …]: the samples outside (windows, time steps) or
            inside (two views one behind the other); None for others.
        """
        if tensor.is_complex() or not tensor.is_floating_point() or tensor.dim() < 2:
            return None
        times, rest = divmod(len(tensor), max(self.count, 1))
        if rest or times < 2:
            return None
        shape = tensor.shape[1:]
        inside = tensor.reshape(times, self.count, *shape).transpose(0, 1)
        return tensor.reshape(self.count, times, *shape), inside

    def over_positions(self, activation: Tensor) -> Tensor:
        """Of sequences [n, t, d] the sum over their real positions / √ of their number, [n, d].

        A few hundred samples cannot tell t · d independent features apart, but d of them. The sum
        of independent positions / √t has the variance of one, so noise floors keep their meaning.
        """
        if activation.dim() < 3:
            return activation
        positions = activation.flatten(1, -2)
        precise = torch.promote_types(positions.dtype, torch.float32)
        if self.mask is None or self.mask.shape[1] != positions.shape[1]:
            return positions.sum(dim=1, dtype=precise) / math.sqrt(positions.shape[1])
        real = self.mask[: len(positions)].to(positions.device, precise)
        # Not multiplied: what stands at padded positions may be infinite.
        kept = positions.to(precise).masked_fill(real[:, :, None] == 0, 0)
        return kept.sum(dim=1) / real.sum(dim=1, keepdim=True).sqrt()

    def extremes(self, ids: Tensor) -> Tensor | None:
        """Largest and negative smallest of integers [n, …] over samples, at each place, [2, m].

        Places that are padding in all samples are as small as can be in both. None where the
        integers do not lie by sample.
        """
        if len(ids) != self.count:
            return None
        rows = ids.long()
        real = torch.ones_like(rows, dtype=torch.bool)
        if self.mask is not None and ids.dim() > 1 and ids.shape[1] == self.mask.shape[1]:
            real = self.mask.to(ids.device).reshape(*self.mask.shape, *[1] * (ids.dim() - 2))
        both = [signed.masked_fill(~real, LEAST_ID).amax(dim=0) for signed in (rows, -rows)]
        return torch.stack(both).reshape(2, -1)

    def _by_graph(self, nodes: Tensor) -> Tensor:
        graphs = self.graphs
        assert graphs is not None
        rows = nodes.flatten(1)
        total = rows.new_zeros(self.count, rows.shape[1]).index_add(0, graphs, rows)
        number = torch.bincount(graphs, minlength=self.count).clamp_min(1).to(rows)
        return total / number[:, None].sqrt()


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

    Nodes of one graph are no samples.
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
    if first is not None and first.dim() == 1 and isinstance(target, Tensor) and target.dim():
        return len(target)  # such as all words of all texts in a row
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


def given_to(model: nn.Module, batch: Any, arguments: Arguments | None) -> Given:
    """What is to be reconstructed of a batch, and how its samples lie.

    Args:
        model: That is called.
        batch: On the model's device.
        arguments: With which it is called; None where a function of the user's calls it: then all
            of the batch but its target.

    Raises:
        ValueError: If a mask leaves nothing of a sample.
    """
    given = Given()
    mask: Tensor | None = None
    count = count_of(batch)
    for name, value in _leaves(model, batch, arguments):
        tensor = value.data if isinstance(value, PackedSequence) else value
        given.shapes[name] = _shape(value)
        if isinstance(tensor, Tensor) and "mask" in name.lower():
            if tensor.dim() == 2 and len(tensor) == count:
                mask = _real_positions(name, tensor)
        elif isinstance(tensor, Tensor) and not (tensor.is_floating_point() or tensor.is_complex()):
            given.integers |= tensor.dtype != torch.bool
        else:
            given.floating[name] = value
    graphs = None if isinstance(batch, Mapping) else getattr(batch, "batch", None)
    lies = isinstance(graphs, Tensor) and isinstance(getattr(batch, "num_graphs", None), int)
    given.view = View(count, mask, graphs if lies else None)
    return given


def rows_of(value: Any, view: View, *, pooled: bool) -> Tensor | None:
    """A floating input by sample, [n, …]; None where it has no axis of samples.

    Args:
        value: A tensor, a packed sequence, or a list of a tensor for each sample.
        view: Of the samples.
        pooled: Whether its shape differs from batch to batch, or has padded positions.
    """
    if is_list_of_samples(value):
        return torch.cat([_alike(item[None], pooled=True) for item in value])
    tensor = value.data if isinstance(value, PackedSequence) else value
    found = view.of(value, tensor) if isinstance(tensor, Tensor) else None
    if found is None and isinstance(tensor, Tensor) and tensor.shape == (view.count,):
        found = tensor[:, None]  # one number a sample
    if found is None or not pooled:
        return found
    return view.over_positions(found) if found.dim() == 3 else _alike(found, pooled=pooled)


def _alike(images: Tensor, *, pooled: bool) -> Tensor:
    """Images [n, c, h, w] on a small grid, sequences [n, t, d] summed up."""
    if images.dim() == 4 and pooled:
        return adaptive_avg_pool2d(images, SIDE)
    return View(len(images)).over_positions(images)


def _real_positions(name: str, mask: Tensor) -> Tensor:
    """Where a mask leaves them.

    PyTorch's ``*_key_padding_mask`` is true where there is padding, others are true, or positive,
    where not; what is added has zeros there, and −∞ or the like elsewhere.
    """
    if mask.dtype == torch.bool:
        real = ~mask if "padding" in name.lower() else mask
    else:
        real = mask > 0 if bool((mask > 0).any()) else (mask == 0) & mask.is_floating_point()
    empty = (~real.any(dim=1)).nonzero().flatten()
    if len(empty):
        raise ValueError(
            f"`{name}` must leave at least one position of each sample, but masks all "
            f"{mask.shape[1]} of {len(empty)} of {len(mask)} samples."
        )
    return real


def _leaves(model: nn.Module, batch: Any, arguments: Arguments | None) -> Iterator[tuple[str, Any]]:
    """What goes in, by name: tensors, packed sequences and lists of samples, no targets."""
    if arguments is None:
        whole = batch[:-1] if isinstance(batch, (tuple, list)) and len(batch) > 1 else batch
        yield from _inside("", whole if not _is_single(whole) else {"input": whole})
        return
    names = names_of(model, len(arguments.args))
    for name, value in [*zip(names, arguments.args, strict=True), *arguments.kwargs.items()]:
        is_target = value is arguments.target and not _like_the_first(value, arguments.args)
        if name not in LABEL_NAMES and not is_target:
            yield from _inside(name, value)


def _like_the_first(value: Any, args: tuple[Any, ...]) -> bool:
    """Whether the last argument is another view of the first, where a loss compares the two."""
    first = args[0] if len(args) > 1 else None
    if not isinstance(first, Tensor) or not isinstance(value, Tensor):
        return False
    return first.is_floating_point() and (first.shape, first.dtype) == (value.shape, value.dtype)


def _inside(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if _is_single(value):
        yield name, value
        return
    for key, item in named_parts(value).items():
        if key not in LABEL_NAMES and key not in _NOT_INPUTS:
            yield from _inside(f"{name}.{key}" if name else key, item)


def _is_single(value: Any) -> bool:
    return isinstance(value, (Tensor, PackedSequence)) or is_list_of_samples(value)


def _packed(value: Any) -> Iterator[PackedSequence]:
    if isinstance(value, PackedSequence):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _packed(item)


def _shape(value: Any) -> tuple[int, ...]:
    """Without the samples' axis."""
    if isinstance(value, Tensor):
        return tuple(value.shape[1:])
    return () if isinstance(value, PackedSequence) else tuple(sorted({t.shape for t in value}))


def differ(extremes: Sequence[Tensor | None]) -> bool:
    """Whether integers differ between samples, by the extremes of all batches, see `View`.

    Positions and types of tokens do not: they say nothing that is to be reconstructed.
    """
    known = [pair for pair in extremes if pair is not None]
    if len(known) < len(extremes):
        return True
    longest = max(pair.shape[1] for pair in known)
    padded = [pad(pair, (0, longest - pair.shape[1]), value=LEAST_ID) for pair in known]
    largest, smallest = torch.stack(padded).amax(dim=0)
    return bool((largest > -smallest).any())
