"""Signs of life, written by whatever works for a sweep, each process into a file of its own."""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

_stacks: list[object] = []  # files that are written to on SIGUSR2, once a process


@dataclass(frozen=True)
class Mark:
    """One sign of life.

    Attributes:
        what: ``"probing"``, ``"probed"``, ``"started"``, ``"iteration"`` or ``"finished"``.
        trial: Its id; empty in a probe, which is not told it.
        pid: Of the process.
        node: Ray's id of the node that it runs on.
        iteration: That was reported.
        time: Seconds since the epoch; all runs on one machine.
    """

    what: str
    trial: str
    pid: int
    node: str
    iteration: int
    time: float


def marking(folder: str, node: str, trial: str = "") -> Callable[..., None]:
    """A function that leaves marks; from here on SIGUSR2 writes all stacks of this process."""
    if not _stacks:
        stacks = Path(folder, f"stacks-{os.getpid()}").open("w")  # noqa: SIM115
        _stacks.append(stacks)
        faulthandler.register(signal.SIGUSR2, stacks, all_threads=True)

    def mark(what: str, iteration: int = 0) -> None:
        left = Mark(what, trial, os.getpid(), node, iteration, time.time())
        with Path(folder, f"marks-{os.getpid()}").open("a") as file:
            file.write(f"{json.dumps(asdict(left))}\n")

    return mark


def marks_in(folder: Path) -> list[Mark]:
    """All marks that were left so far, in the order of time; half a last line is none yet."""
    found = []
    for path in folder.glob("marks-*"):
        for line in path.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                found.append(Mark(**json.loads(line)))
    return sorted(found, key=lambda mark: mark.time)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
