"""What there is: the memory of a device, of a container, of a machine."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from numbers import Real
from pathlib import Path
from types import NoneType
from typing import Literal

import torch
from torch import nn

PROC = Path("/proc")
CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Limits:
    """What a trial may take.

    Attributes:
        memory: Bytes of one training step; ``"device"`` (default) for what the device has; None
            for any. On a CPU that is the machine, or the container where it has less. Of a cluster
            of unlike workers the bytes by kind, such as ``{"A100": 80e9, "V100": 16e9}``: a trial
            that fits one of them is kept, and the verdict advises which.
        seconds: Wall-clock time of the full training; None (default) for any.
        until: When all has to be over, a datetime or seconds as of `time.time`; None (default) for
            no such time. A study's time-out is not known to its trials:
            ``until=time.time() + timeout``.
        margin: Share by which an estimate may be too high: a trial is condemned only where what is
            left without it is still above the limit. Default: the estimate's own interval, from
            ``benchmarks/preflight``.

    Raises:
        ValueError: If a limit is not positive, or ``margin`` not in [0, 1).
        TypeError: If ``until`` is no time.
    """

    memory: float | Literal["device"] | Mapping[str, float] | None = "device"
    seconds: float | None = None
    margin: float | None = None
    until: datetime | float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.memory, Mapping):
            if not self.memory:
                raise ValueError("`memory` must hold a kind of worker at least, but got {}.")
            for kind, size in self.memory.items():
                if not isinstance(kind, str):
                    raise TypeError(f"`memory` must name kinds of workers, but got {kind!r}.")
                _check_positive(f"memory[{kind!r}]", size, " of bytes")
        elif self.memory not in ("device", None):
            _check_positive("memory", self.memory, " of bytes, 'device', bytes by kind or None")
        if self.seconds is not None:
            _check_positive("seconds", self.seconds, " or None")
        if self.margin is not None and not (isinstance(self.margin, Real) and 0 <= self.margin < 1):
            raise ValueError(f"`margin` must be in [0, 1), but got {self.margin!r}.")
        known = isinstance(self.until, (datetime, NoneType))
        if not known and not (isinstance(self.until, Real) and math.isfinite(self.until)):
            raise TypeError(
                "`until` must be a datetime, seconds as of time.time() or None, but got "
                f"{self.until!r}."
            )

    @property
    def kinds(self) -> dict[str, float]:
        """Bytes of each kind of worker, the smallest first; empty where all are alike."""
        if not isinstance(self.memory, Mapping):
            return {}
        return dict(sorted(self.memory.items(), key=lambda kind: kind[1]))

    def time(self) -> float | None:
        """Seconds that a training which starts now may take; None for any."""
        if self.until is None:
            return self.seconds
        end = self.until.timestamp() if isinstance(self.until, datetime) else self.until
        left = max(end - time.time(), 0.0)
        return left if self.seconds is None else min(left, self.seconds)

    def room(self, device: str | torch.device, model: nn.Module | None = None) -> Room | None:
        """The memory that is meant; None where there is no limit, or it cannot be known.

        Args:
            device: That trains.
            model: What of it lies there already is no less room for it.
        """
        if self.memory is None:
            return None
        if isinstance(self.memory, Mapping):
            most = int(max(self.memory.values()))
            return Room(most, most)
        if self.memory != "device":
            return Room(int(self.memory), int(self.memory))
        return room_of(torch.device(device), model)


@dataclass(frozen=True)
class Room:
    """Memory for a trial, bytes.

    Attributes:
        free: Now.
        capacity: Were nobody else there. What does not fit into this never will.
    """

    free: int
    capacity: int


def room_of(device: torch.device, model: nn.Module | None = None) -> Room | None:
    """What a device has for a trial of this process; None where it cannot be known.

    What this process holds besides the model counts as taken, and what others hold as taken now.
    """
    own = 0 if model is None else _bytes_on(model, device)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            return None
        free, total = torch.cuda.mem_get_info(device)
        held = torch.cuda.memory_allocated(device)
        cached = torch.cuda.memory_reserved(device) - held
        return Room(free + cached + own, total - held + own)
    if device.type != "cpu":
        return None
    return _room_of_machine(own)


def _room_of_machine(own: int) -> Room | None:
    try:
        known = _entries((PROC / "meminfo").read_text())
        resident = _entries((PROC / "self" / "status").read_text())["VmRSS"]
        free, total = known["MemAvailable"], known["MemTotal"]
    except (OSError, KeyError):  # not Linux
        return None
    for most, used in _containers():
        free, total = min(free, max(most - used, 0)), min(total, most)
    return Room(free + own, max(total - resident, 0) + own)


def _entries(text: str) -> dict[str, int]:
    """Bytes by name, of lines such as ``MemTotal:  16316412 kB``."""
    return {name: 1024 * int(kb) for name, kb in re.findall(r"(\w+):\s+(\d+) kB", text)}


def _containers() -> Iterator[tuple[int, int]]:
    """Limit and use of every control group that this process is in, bytes, versions 2 and 1."""
    for folder in _groups(""):
        yield from _limit(folder, "memory.max", "memory.current", "inactive_file")
    for folder in _groups("memory"):
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        yield from _limit(folder, *names)


def _groups(controller: str) -> Iterator[Path]:
    """Folders of this process's group and of those around it; in a container the root alone."""
    root = CGROUP / controller
    try:
        lines = (PROC / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            place = root / path.lstrip("/")
            yield from (p for p in (place, *place.parents) if p.is_relative_to(root))


def _limit(folder: Path, most: str, used: str, cache: str) -> Iterator[tuple[int, int]]:
    try:
        limit, use = (int((folder / name).read_text()) for name in (most, used))
        stat = (folder / "memory.stat").read_text()
    except (OSError, ValueError):  # there is none, or no limit ("max")
        return
    found = re.search(rf"^{cache} (\d+)$", stat, re.MULTILINE)
    yield limit, use - (int(found[1]) if found else 0)  # files can be read again


def _bytes_on(model: nn.Module, device: torch.device) -> int:
    tensors = {id(t): t for t in (*model.parameters(), *model.buffers())}
    return sum(t.numel() * t.element_size() for t in tensors.values() if _is_on(t, device))


def _is_on(tensor: torch.Tensor, device: torch.device) -> bool:
    same = device.index is None or tensor.device.index == device.index
    return tensor.device.type == device.type and same


def _check_positive(name: str, value: object, others: str) -> None:
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not 0 < value < math.inf:  # type: ignore[operator]
        raise ValueError(f"`{name}` must be a positive number{others}, but got {value!r}.")
