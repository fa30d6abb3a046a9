"""Peak memory of a process, or of a GPU's allocator."""

from __future__ import annotations

import ctypes
import gc
import re
from collections.abc import Callable
from pathlib import Path

import torch

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -2, -3, -8
"""Of glibc's ``mallopt``."""

STATUS = Path("/proc/self/status")


def exact_allocator() -> None:
    """Give what is freed back to the system at once, so that what is resident is what is held.

    Else glibc keeps freed blocks of up to 32 MiB, and the peak is that of its habits.
    """
    libc = ctypes.CDLL(None)
    for option, value in (
        (M_MMAP_THRESHOLD, 2**16),
        (M_TRIM_THRESHOLD, 2**16),
        (M_TOP_PAD, 0),
        (M_ARENA_MAX, 1),
    ):
        libc.mallopt(option, value)


def peak(run: Callable[[], object], device: torch.device) -> int:
    """Bytes beyond those in use before the call, at its peak."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        return torch.cuda.max_memory_allocated(device) - before
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    before = _resident("VmRSS")
    run()
    return _resident("VmHWM") - before


def _resident(entry: str) -> int:
    found = re.search(rf"{entry}:\s+(\d+) kB", STATUS.read_text())
    assert found is not None
    return 1024 * int(found[1])
