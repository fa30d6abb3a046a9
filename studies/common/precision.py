"""Convolutions in TF32, as PyTorch has them on GPUs by default, on any device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor

CONVOLUTIONS: dict[str, Callable[..., Tensor]] = {
    "conv2d": F.conv2d,
    "conv_transpose2d": F.conv_transpose2d,
}


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
        for name, convolve in CONVOLUTIONS.items():
            chosen = _rounding(convolve) if tf32 else convolve
            stack.enter_context(mock.patch.object(F, name, chosen))
        yield


def to_tf32(values: Tensor) -> Tensor:
    """Round float32 to TF32's 11 significant bits, ties to even; gradients pass unchanged."""
    scaled = values * (2**13 + 1)  # Dekker's splitting (1971): 24 − 13 bits are kept
    rounded = scaled - (scaled - values)
    error = torch.where(scaled.isfinite(), rounded - values, 0)  # as it is beyond 4e34
    return values + error.detach()


def _rounding(convolve: Callable[..., Tensor]) -> Callable[..., Tensor]:
    # Named as PyTorch's own, which may be given by name.
    def convolve_rounded(input: Tensor, weight: Tensor, *args: object, **kwargs: object) -> Tensor:  # noqa: A002
        return convolve(to_tf32(input), to_tf32(weight), *args, **kwargs)

    return convolve_rounded
