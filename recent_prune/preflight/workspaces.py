"""What kernels allocate for themselves, and what libraries keep, where that is known and large."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

import torch
from torch import Tensor

AT_FIRST = 5 * 2**20
"""Bytes that a process keeps on a CPU after its first training step of a model: objects of Python
and autograd, pages of the libraries (``benchmarks/preflight``, the median over 91 rows)."""

COMPILED = {torch.bfloat16: round(0.41 * 2**20), None: round(0.26 * 2**20)}
"""Bytes that oneDNN keeps for each convolution that is unlike all others, both ways, by type, None
for all others (likewise). It compiles their code."""

_CONVOLUTION = torch.ops.aten.convolution.default
_BACKWARD = torch.ops.aten.convolution_backward.default


def unlike(func: Any, args: tuple[Any, ...]) -> Hashable | None:
    """What tells a forward convolution on a CPU from others; None for any other operation."""
    if func is not _CONVOLUTION or args[0].device.type != "cpu":
        return None
    settings = (tuple(v) if isinstance(v, (list, tuple)) else v for v in args[3:])
    return (args[0].dtype, tuple(args[0].shape), tuple(args[1].shape), *settings)


def libraries(device: torch.device, convolutions: Iterable[Hashable]) -> int:
    """Bytes that libraries keep on a device for such convolutions, as :func:`unlike` tells them.

    On a CPU; what a GPU's libraries hold is not known.
    """
    if device.type != "cpu":
        return 0
    dtypes = (known[0] for known in convolutions if isinstance(known, tuple))
    return AT_FIRST + sum(COMPILED.get(dtype, COMPILED[None]) for dtype in dtypes)


def workspace(func: Any, args: tuple[Any, ...], made: Any) -> int:
    """Bytes that an operation takes besides what it is given and returns, and lets go of again.

    Known are convolutions on a CPU. oneDNN computes them in a layout of its own, in blocks of
    channels, and copies to and fro whatever does not lie with its channels last: forward, input,
    weight and output; backward, the output's gradient, the weight, and the larger of the input and
    its gradient, which are computed one after the other. ``benchmarks/preflight`` found peaks too
    low by up to a third without it.

    Args:
        func: The operation.
        args: Its arguments.
        made: What it returned.
    """
    if func is _CONVOLUTION:
        tensors = (args[0], args[1], made)
    elif func is _BACKWARD:
        tensors = args[:3]
    else:
        return 0
    if tensors[0].device.type != "cpu" or _channels_last(tensors[0]):
        return 0
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _channels_last(tensor: Tensor) -> bool:
    return tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
