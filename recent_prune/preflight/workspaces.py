"""What kernels allocate for themselves, where that is known and large."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


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
    if func is torch.ops.aten.convolution.default:
        tensors = (args[0], args[1], made)
    elif func is torch.ops.aten.convolution_backward.default:
        tensors = args[:3]
    else:
        return 0
    if tensors[0].device.type != "cpu" or _channels_last(tensors[0]):
        return 0
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _channels_last(tensor: Tensor) -> bool:
    return tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
