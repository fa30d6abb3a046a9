"""Count what tensors hold, part by part, as operations make them and let go of them."""

from __future__ import annotations

import weakref
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from recent_prune.preflight.workspaces import unlike, workspace

BLOCKS = {"cpu": 64, "cuda": 512}
"""Bytes that an allocator rounds up to: ``c10::gAlignment`` on a CPU, ``kMinBlockSize`` of the
caching allocator on a CUDA device."""


ANSWER = 0.5
"""A number that optimizers can divide by, and subtract from 1."""


def block_of(device: torch.device) -> int:
    """Bytes that a device's allocator rounds up to; others are taken for that of CUDA."""
    return BLOCKS.get(device.type, BLOCKS["cuda"])


class Part(StrEnum):
    """What memory is for; the one list of parts."""

    PARAMETERS = "parameters"
    BUFFERS = "buffers"
    BATCH = "batch"
    """Of the model's device, and what is computed before the model is called."""
    ACTIVATIONS = "activations"
    """What the forward pass made and is still held: for the backward pass, above all."""
    GRADIENTS = "gradients"
    OPTIMIZER = "optimizer"
    """Its state."""
    TEMPORARIES = "temporaries"
    """What the backward pass and the optimizer need in passing."""
    LIBRARIES = "libraries"
    """What PyTorch's libraries compile and keep, known on a CPU."""


@dataclass
class _Held:
    part: Part
    size: int
    alive: weakref.ref[Any]


class MemoryCounter(TorchDispatchMode):
    """Counts the bytes of all tensors that are made while it is active, real or fake.

    A storage counts from the operation that returned it until nothing holds it any more, whatever
    views there are. What a kernel allocates for itself, and lets go of before it returns, no such
    count sees; it is added where it is known (:func:`workspace`). Operations are those of
    :mod:`torch.utils.flop_counter`: of matrix products, convolutions and attention, with a
    multiplication and an addition as two.

    Args:
        block: Bytes that the allocator rounds up to.

    Attributes:
        part: What new tensors are for.
        peak: Bytes that were held at once, at most, since :meth:`restart`.
        peak_parts: What they were for.
        operations: Floating-point operations since :meth:`restart`.
        convolutions: Those unlike each other that ran on a CPU, see :func:`unlike`.
        moments: Bytes that were held after each operation, since :meth:`restart`.
        scalars: Whether a fake tensor that is asked for a floating-point number (``.item()``), and
            has none, gives `ANSWER`.
    """

    def __init__(self, block: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        from torch.utils.flop_counter import flop_registry  # a quarter of a second

        self._operations_of: Mapping[Any, Any] = flop_registry
        self._block = block
        self._held: dict[int, _Held] = {}
        self._parts = dict.fromkeys(Part, 0)
        self._total = 0
        self.part = Part.TEMPORARIES
        self.scalars = False
        self.convolutions: set[Hashable] = set()
        self.restart()

    def restart(self) -> None:
        """Begin a new peak, at what is held now."""
        self.operations = 0
        self.moments: list[int] = []
        self.peak = self._total
        self.peak_parts = dict(self._parts)

    def held(self, part: Part) -> int:
        """Bytes that are held now for a part."""
        return self._parts[part]

    def is_holding(self) -> bool:
        """Whether anything is held now."""
        return bool(self._held)

    def hold(self, tensors: Iterable[Tensor], part: Part) -> None:
        """Count tensors for a part, also those that counted for another."""
        for tensor in tensors:
            for storage in _storages(tensor):
                known = self._held.get(id(storage))
                if known is None:
                    self._add(storage, part)
                else:
                    self._parts[known.part] -= known.size
                    self._parts[part] += known.size
                    known.part = part

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run an operation, and count what it returns."""
        given = kwargs or {}
        if func is torch.ops.prim.device.default:  # half of all calls on fake tensors
            return func(*args, **given)
        try:
            made = func(*args, **given)
        except DataDependentOutputException:
            if self.scalars and args[0].is_floating_point():
                return ANSWER
            raise
        count = self._operations_of.get(func._overloadpacket)
        if count is not None:
            self.operations += int(count(*args, **given, out_val=made))
        for tensor in (made,) if isinstance(made, Tensor) else tree_leaves(made):
            if isinstance(tensor, Tensor):
                for storage in _storages(tensor):
                    if id(storage) not in self._held:
                        self._add(storage, self.part)
        if (convolution := unlike(func, args)) is not None:
            self.convolutions.add(convolution)
        taken = workspace(func, args, made)
        self.moments.append(self._total + taken)
        if self._total + taken > self.peak:
            self.peak, self.peak_parts = self._total + taken, dict(self._parts)
            self.peak_parts[Part.TEMPORARIES] += taken
        return made

    def _add(self, storage: torch.UntypedStorage, part: Part) -> None:
        size = -(-storage.nbytes() // self._block) * self._block
        key = id(storage)
        self._held[key] = _Held(part, size, weakref.ref(storage, lambda _: self._drop(key)))
        self._parts[part] += size
        self._total += size
        if self._total > self.peak:
            self.peak, self.peak_parts = self._total, dict(self._parts)

    def _drop(self, key: int) -> None:
        gone = self._held.pop(key)
        self._parts[gone.part] -= gone.size
        self._total -= gone.size


def _storages(tensor: Tensor) -> Iterator[torch.UntypedStorage]:
    if tensor.layout == torch.strided:
        yield tensor.untyped_storage()
    elif tensor.layout == torch.sparse_coo:
        yield tensor._indices().untyped_storage()
        yield tensor._values().untyped_storage()
