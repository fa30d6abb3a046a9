"""Wall clock and peak memory of a call."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import torch

STATUS = Path("/proc/self/status")


Clock = Callable[[], float]


def seconds(
    run: Callable[[], object], device: torch.device, clock: Clock = time.perf_counter
) -> float:
    """Wall clock of one call, or another clock's; a GPU is waited for before and after."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    start = clock()
    run()
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return clock() - start


def rounds(
    calls: dict[str, Callable[[], object]],
    repeats: int,
    device: torch.device,
    clock: Clock = time.perf_counter,
) -> list[dict[str, float]]:
    """Time all calls once in each of ``repeats`` rounds, in turn; a first round is not counted."""
    timed = [
        {name: seconds(call, device, clock) for name, call in calls.items()}
        for _ in range(repeats + 1)
    ]
    return timed[1:]


def ratio(timed: Sequence[dict[str, float]], part: str, whole: str) -> float:
    """Median over the rounds of the ratio within a round."""
    return median(r[part] / r[whole] for r in timed)


def peak_memory(run: Callable[[], object], device: torch.device) -> float:
    """Bytes beyond those in use before the call, at its peak; NaN where it cannot be told.

    On a CPU the high-water mark of the process: call it once a process, since what an earlier call
    has freed may be used again.
    """
    if device.type == "cuda":
        run()  # libraries allocate workspaces once
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        return torch.cuda.max_memory_allocated(device) - before
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
        before = _kilobytes("VmRSS")
        run()
        return 1024 * (_kilobytes("VmHWM") - before)
    except OSError:  # not Linux
        return float("nan")


def _kilobytes(entry: str) -> int:
    found = re.search(rf"{entry}:\s+(\d+) kB", STATUS.read_text())
    assert found is not None
    return int(found[1])
