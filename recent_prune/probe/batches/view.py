"""How the samples of a batch lie in the tensors that a model makes of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

LEAST_ID = -(2**62)
"""Below every token, also with the sign turned."""


@dataclass(frozen=True)
class View:
    """How the samples of one batch lie in its tensors.

    Attributes:
        count: Samples.
        masks: Which positions are real, [n, t] each, of the masks that were passed.
        graphs: Of each node the number of its graph, [nodes], where samples are graphs.
    """

    count: int
    masks: tuple[Tensor, ...] = ()
    graphs: Tensor | None = None

    def mask(self, positions: int) -> Tensor | None:
        """Of sequences of so many positions; an encoder and a decoder may have one each."""
        return next((mask for mask in self.masks if mask.shape[1] == positions), None)

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
        if tensor.is_nested:
            return None
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

    def steps(self, value: Any, tensor: Tensor) -> dict[int, Tensor]:
        """Activations at each time step of sequences, [n, d] each, by its number from 1 on.

        Args:
            value: What a module gave or got.
            tensor: The first tensor in it.

        Returns:
            The steps that all samples have, without those that are padding in any of them; none of
            what are no sequences [n, t, d].
        """
        packed = next(_packed(value), None)
        if packed is not None:
            sequences, lengths = pad_packed_sequence(packed, batch_first=True)
            real = torch.arange(sequences.shape[1]) < lengths.min()
        else:
            found = self.of(value, tensor)
            if found is None or found.dim() != 3:
                return {}
            sequences, real = found, torch.ones(found.shape[1], dtype=torch.bool)
            mask = self.mask(len(real))
            real = real if mask is None else mask.all(dim=0)
        places: list[int] = real.nonzero().flatten().tolist()
        return {place + 1: sequences[:, place] for place in places}

    def merged(self, tensor: Tensor) -> tuple[Tensor, Tensor] | None:
        """Activations [k · n, …], in which another axis is merged with that of the samples.

        Returns:
            Both ways in which they may lie, [n, k, …]: the samples outside (windows, time steps) or
            inside (two views one behind the other); None for others.
        """
        if not tensor.is_floating_point() or tensor.dim() < 2 or tensor.is_nested:
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
        mask = self.mask(positions.shape[1])
        if mask is None:
            return positions.sum(dim=1, dtype=precise) / math.sqrt(positions.shape[1])
        real = mask[: len(positions)].to(positions.device, precise)
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
        mask = self.mask(ids.shape[1]) if ids.dim() > 1 else None
        if mask is not None:
            real = mask.to(ids.device).reshape(*mask.shape, *[1] * (ids.dim() - 2))
        both = [signed.masked_fill(~real, LEAST_ID).amax(dim=0) for signed in (rows, -rows)]
        return torch.stack(both).reshape(2, -1)

    def _by_graph(self, nodes: Tensor) -> Tensor:
        graphs = self.graphs
        assert graphs is not None
        rows = nodes.flatten(1)
        total = rows.new_zeros(self.count, rows.shape[1]).index_add(0, graphs, rows)
        number = torch.bincount(graphs, minlength=self.count).clamp_min(1).to(rows)
        return total / number[:, None].sqrt()


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


def _packed(value: Any) -> Iterator[PackedSequence]:
    if isinstance(value, PackedSequence):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _packed(item)
