"""Tensors: what they hold, and how it comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Held(NamedTuple):
    """What a tensor holds.

    Attributes:
        tensor: As others know it.
        memory: Where it lies.
        part: Of it what can be written to.
        value: Of that a copy.
    """

    tensor: Tensor
    memory: Tensor
    part: Tensor
    value: Tensor


def held(tensor: Tensor) -> Held:
    """What is needed to put a tensor back."""
    memory = tensor.detach()
    part = _unexpanded(memory)
    return Held(tensor, memory, part, part.clone())


def _unexpanded(tensor: Tensor) -> Tensor:
    """Without copies along dimensions that it was expanded over: nothing may write to those."""
    if tensor.layout == torch.strided and not tensor.is_nested:
        for dim, stride in enumerate(tensor.stride()):
            if stride == 0 and tensor.shape[dim] > 1:
                tensor = tensor.narrow(dim, 0, 1)
    return tensor


@torch.no_grad()
def put_back(known: Sequence[Held]) -> None:
    """Give tensors back what they held, where they hold something else.

    To others nothing is written: a graph that the user holds forbids it, and memory of a file that
    was opened to be read.

    Raises:
        Exception: The first that a tensor raised, when all were tried.
    """
    all_of(lambda one=one: put_where_it_was(one.tensor, one.memory) for one in known)  # type: ignore[misc]
    pairs = [(one.part, one.value) for one in known if not one.tensor.is_inference()]
    write(changed(pairs))


@torch.no_grad()
def write(pairs: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Write values to tensors.

    Raises:
        Exception: The first that a tensor raised, when all were tried.
    """
    all_of(lambda a=a, b=b: a.copy_(b) for a, b in pairs)  # type: ignore[misc]


def changed(pairs: Sequence[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """Those tensors, with their former values, that hold something else or cannot be compared."""
    try:
        flags = changed_bits(pairs)
    except Exception:  # of memory that ran out, or a kind of tensor that has no bits
        flags = [_may_have_changed(pair) for pair in pairs]
    return [pair for pair, is_other in zip(pairs, flags, strict=True) if is_other]


def _may_have_changed(pair: tuple[Tensor, Tensor]) -> bool:
    try:
        return changed_bits([pair])[0]
    except Exception:
        return True


def all_of(puts: Iterable[Callable[[], object]]) -> None:
    """Do one after the other, whatever one of them raises.

    Raises:
        Exception: The first, when all were tried.
    """
    errors: list[Exception] = []
    for put in puts:
        try:
            put()
        except Exception as error:
            errors.append(error)
    if errors:
        raise errors[0]


def put_where_it_was(tensor: Tensor, memory: Tensor) -> None:
    """Undo an assignment to ``tensor.data``; ``memory`` is what it was detached."""
    plain = type(memory) is Tensor and memory.layout == torch.strided and not memory.is_nested
    if plain and (
        (tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        != (memory.data_ptr(), memory.dtype, memory.shape, memory.stride())
    ):
        tensor.data = memory


_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Of as many bytes."""


def changed_bits(values: Sequence[tuple[Tensor, Tensor]]) -> list[bool]:
    """Which tensors differ from their former values, to the last bit: −0 is not 0, NaN is NaN."""
    # On an accelerator all are compared before the first answer is waited for.
    differ = [_differs(tensor.detach(), value) for tensor, value in values]
    if not differ:
        return []
    found: list[bool] = torch.stack([flag.to(differ[0].device) for flag in differ]).tolist()
    return found


def _differs(tensor: Tensor, value: Tensor) -> Tensor:
    if tensor.layout != torch.strided or tensor.is_quantized:  # which have no bits to look at
        return torch.ones((), dtype=torch.bool, device=tensor.device)
    pair = (torch.view_as_real(t.resolve_conj()) if t.is_complex() else t for t in (tensor, value))
    kind = _INTEGERS[tensor.real.element_size()]
    one, other = (t.resolve_neg().view(kind) for t in pair)
    return (one != other.to(one.device)).any()
