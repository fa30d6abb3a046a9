"""How much memory is free, whether it ran out, and what becomes of what is freed."""

from __future__ import annotations

import os
import re
from pathlib import Path

import torch

CGROUP = Path("/sys/fs/cgroup")
"""Where Linux tells what memory a container has."""

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


_ERRORS = re.compile(r"\b(OutOfMemoryError|MemoryError)\b")


def free_memory(device: torch.device) -> int:
    """Bytes that are free on a CUDA device, or else for this process on its machine."""
    if device.type == "cuda":
        # What PyTorch holds without using it is free as well.
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + held
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):  # not Linux
        return 2**30
    try:  # a container may have less
        most, used = (int((CGROUP / f"memory.{name}").read_text()) for name in ("max", "current"))
    except (OSError, ValueError):  # there is none, or no limit
        return free
    return max(min(free, most - used), 0)


LARGEST_KEPT = 32 * 2**20 - 2**16
"""Bytes: glibc never keeps blocks of 32 MiB."""


def keep_freed_memory() -> None:
    """Have the C library keep what is freed, as it does in a process that has run for a while.

    glibc gives blocks back to the system until it has seen a large one freed, and the pages of each
    new tensor have to be cleared again: the steps of a small CNN take up to twice as long, all
    through a training. What a probe allocates changes that for what comes after it, so its own
    steps are not to be timed before. The block is never written to, so it takes no memory.
    """
    torch.empty(LARGEST_KEPT, dtype=torch.uint8, device="cpu")


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


def tells_of_memory(text: str) -> bool:
    """Whether a traceback, as text, ends in memory that ran out; Ray has an error of its own."""
    told = "\n".join(text.strip().splitlines()[-20:])
    return _ERRORS.search(told) is not None or any(known in told for known in SAYS)
