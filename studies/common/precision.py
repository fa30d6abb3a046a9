"""Convolutions in TF32, as PyTorch has them on GPUs by default, on any device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor

CONVOLUTIONS = ("conv2d", "conv_transpose2d")


@contextmanager
def convolutions(*, tf32: bool) -> Iterator[None]:
    """Within, 2-d convolutions are computed in TF32, or surely are not.

    PyTorch lets cuDNN use TF32 for float32 convolutions unless told otherwise (not for matrix
    products), which NVIDIA's GPUs do since Ampere: inputs and weights are rounded to 11 significant
    bits, their products summed in float32. Here they are rounded before each convolution, so that
    any device does; only the gradients that a GPU rounds on their way back are not.
    """
    before = torch.backends.cudnn.allow_tf32
    with ExitStack() as stack:
        stack.callback(setattr, torch.backends.cudnn, "allow_tf32", before)
        torch.backends.cudnn.allow_tf32 = tf32
        if tf32:
            for name in CONVOLUTIONS:
                rounding = _rounding(getattr(F, name))
                stack.enter_context(mock.patch.object(F, name, rounding))
        yield


def to_tf32(values: Tensor) -> Tensor:
    """Round float32 to TF32's 11 significant bits, ties to even; gradients pass unchanged."""
    scaled = values * (2**13 + 1)  # Dekker's splitting (1971): 24 − 13 bits are kept
    rounded = scaled - (scaled - values)
    return values + (rounded - values).detach()


def _rounding(convolve: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def convolve_rounded(inputs: Tensor, weight: Tensor, *args: object, **kwargs: object) -> Tensor:
        return convolve(to_tf32(inputs), to_tf32(weight), *args, **kwargs)

    return convolve_rounded
