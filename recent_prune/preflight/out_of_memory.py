"""Memory that ran out, told from other errors."""

from __future__ import annotations

import torch

SAYS = (
    "CUDA out of memory",
    "CUDA error: out of memory",
    "MPS backend out of memory",
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
"""What libraries write that have no error of their own for it."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory of a device or of the machine ran out, also where that caused the error."""
    known: BaseException | None = error
    while known is not None:
        if isinstance(known, (torch.OutOfMemoryError, MemoryError)):
            return True
        if isinstance(known, RuntimeError) and any(text in str(known) for text in SAYS):
            return True
        known = known.__cause__
    return False
