"""How much memory is free."""

from __future__ import annotations

import os
from pathlib import Path

import torch

CGROUP = Path("/sys/fs/cgroup")
"""Where Linux tells what memory a container has."""


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
