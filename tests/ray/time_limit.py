"""A time limit for tests with a Ray, and what all its processes were doing when one was over it.

Ray's own tool for that, `ray stack`, needs py-spy and root. But Ray's workers write where they are
when they are aborted; who hangs for minutes is of no further use.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import pytest

LIMIT_S = 300.0
"""For a test, or what is set up for it: some take a minute, and several on a busy machine."""

LINES = 60
"""That are shown of what a process wrote last."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Within, in the main thread: what takes longer fails, and the stacks of all are on stderr.

    Where not even a signal comes through, pytest's `faulthandler_timeout` ends the process later.

    Args:
        seconds: From here to the end.
    """

    over = threading.Event()

    def interrupt(signum: int, frame: FrameType | None) -> None:
        over.set()
        print(stacks_of_workers(), file=sys.__stderr__, flush=True)
        raise KeyboardInterrupt  # all else is lost in Ray's C++

    def report() -> None:
        faulthandler.dump_traceback(sys.__stderr__ or 2, all_threads=True)
        os.kill(os.getpid(), signal.SIGALRM)

    before = signal.signal(signal.SIGALRM, interrupt)
    timer = threading.Timer(seconds, report)
    timer.daemon = True
    timer.start()
    try:
        yield
    except KeyboardInterrupt:
        if over.is_set():
            pytest.fail(f"It took longer than {seconds:g} s; where all were is on stderr.")
        raise
    finally:
        timer.cancel()
        signal.signal(signal.SIGALRM, before)


def stacks_of_workers() -> str:
    """End all workers of the Ray that this process has started, and tell where each was."""
    told = {}
    for pid in descendants(os.getpid()):
        with suppress(OSError):
            name = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
            if name.startswith("ray::") and not name.endswith("Agent"):  # without those Ray ends
                told[pid] = name, Path(os.readlink(f"/proc/{pid}/fd/2"))
                os.kill(pid, signal.SIGABRT)
    time.sleep(2.0)  # until they have written it
    parts = []
    for pid, (name, log) in told.items():
        with suppress(OSError):
            last = log.read_text(errors="replace").splitlines()[-LINES:]
            parts.append("\n".join([f"--- {name}, process {pid}, wrote last:", *last]))
    return "\n".join(parts) or "--- There is no worker."


def descendants(pid: int) -> list[int]:
    """All processes that a process has started, and those have."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            status = (folder / "stat").read_text().rpartition(")")[2].split()
            children.setdefault(int(status[1]), []).append(int(folder.name))
    found, waiting = [], [pid]
    while waiting:
        known = children.get(waiting.pop(), [])
        found += known
        waiting += known
    return found
