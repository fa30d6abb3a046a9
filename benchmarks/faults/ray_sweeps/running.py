"""One sweep from outside: started, disturbed, watched, started again, and ended if it hangs."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

from benchmarks.faults.ray_sweeps.cluster import Lane
from benchmarks.faults.ray_sweeps.marks import Mark, is_alive, marks_in
from benchmarks.faults.ray_sweeps.plan import Kill, Sweep

FORKED = multiprocessing.get_context("forkserver")
"""Drivers are forked from a process that has imported what they need, which takes seconds."""
FORKED.set_forkserver_preload(["benchmarks.faults.ray_sweeps.driver"])

QUIET_S = 240.0
"""Without a sign of life for so long, a sweep hangs: more than the time-out of a stuck probe and
the start of the next actor take on a machine that is far too busy (108 s were seen)."""

LONGEST_S = 900.0
"""A sweep that takes longer hangs as well, whatever signs it gives."""


@dataclass
class Ran:
    """What was seen of a sweep.

    Attributes:
        sweep: That was run.
        folder: Where it lies.
        hung: Whether it had to be ended.
        ended: What its driver wrote down in the end.
        killed: Each kill, with the time and, of a process, its id.
        seconds: That it took.
    """

    sweep: Sweep
    folder: Path
    hung: bool = False
    ended: dict[str, object] = field(default_factory=dict)
    killed: list[tuple[Kill, float, int]] = field(default_factory=list)
    seconds: float = 0.0


class Running:
    """A sweep while it runs.

    Args:
        sweep: To be run.
        folder: For all that it leaves; it is made.
        lane: Where.
    """

    def __init__(self, sweep: Sweep, folder: Path, lane: Lane) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._sweep, self._folder, self._lane = sweep, folder, lane
        self._numbers = random.Random(sweep.seed)
        self._kills = list(sweep.kills)
        self._ran = Ran(sweep, folder)
        self._signs = 0
        self._begun = self._last_sign = time.monotonic()
        self._driver = self._start()

    def _start(self) -> BaseProcess:
        from benchmarks.faults.ray_sweeps.driver import drive

        driver = FORKED.Process(
            target=drive,
            args=(self._sweep, self._folder, self._lane.address, self._lane.name),
            daemon=True,
        )
        driver.start()
        return driver

    def poll(self) -> Ran | None:
        """Do what is due; what was seen, once it is over or hangs."""
        now = time.monotonic()
        if not self._driver.is_alive():
            return self._over(now)
        marks = marks_in(self._folder)
        if len(marks) > self._signs:
            self._signs, self._last_sign = len(marks), now
        if self._kills and self._signs >= self._kills[0].after and self._kill(marks):
            self._last_sign = now
        if now - self._last_sign > QUIET_S or now - self._begun > LONGEST_S:
            self._give_up(marks)
            return self._over(now)
        return None

    def _over(self, now: float) -> Ran:
        self._ran.seconds = now - self._begun
        with suppress(FileNotFoundError):
            self._ran.ended = json.loads((self._folder / "ended.json").read_text())
        return self._ran

    def _kill(self, marks: list[Mark]) -> bool:
        """Whether there was something to kill."""
        kill = self._kills[0]
        moment, pid = time.time(), 0
        if kill.victim == "node":
            self._lane.kill(self._numbers)
            self._lane.add()
        elif kill.victim == "driver":
            if (self._folder / "ended.json").exists():
                return False
            self._driver.kill()
            self._driver.join()
            self._driver = self._start()
        else:
            trials = kill.victim == "trial"
            pids = {mark.pid for mark in marks if bool(mark.trial) == trials}
            alive = sorted(pid for pid in pids if is_alive(pid))
            if not alive:
                return False
            pid = self._numbers.choice(alive)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._ran.killed.append((self._kills.pop(0), moment, pid))
        return True

    def _give_up(self, marks: list[Mark]) -> None:
        """Have all processes write their stacks, and end the driver, with which its actors go.

        Not by SIGUSR1, by which Tune is asked to end a run.
        """
        self._ran.hung = True
        alive = [pid for pid in {mark.pid for mark in marks} if is_alive(pid)]
        for pid in [*alive, self._driver.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid or 0, signal.SIGUSR2)
        time.sleep(2.0)
        self._driver.kill()
        self._driver.join()
