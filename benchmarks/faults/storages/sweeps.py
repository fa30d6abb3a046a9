"""The studies, and what happens to their processes."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import optuna

from benchmarks.faults.counted import Counted
from benchmarks.faults.storages.counting import Seen, figures, seen
from benchmarks.faults.storages.places import Place, broken, place
from benchmarks.faults.storages.working import finished, study_at, work

FORKED = multiprocessing.get_context("forkserver")
PROCESSES = 8

LOADED_LATE = ("optuna.storages._rdb.models", "alembic.command", "psycopg2")
"""By Optuna, when a storage is opened; a process that starts would take seconds for it."""


@dataclass(frozen=True)
class Case:
    """A study.

    Attributes:
        kind: Of its storage: "postgresql", "sqlite" or "journal".
        judged: By what, one of `working.PRUNERS`.
        fault: "killed", "locked", "out of reach" or "full".
        trials: That are to end.
    """

    kind: str
    judged: str
    fault: str
    trials: int

    def __str__(self) -> str:
        return f"{self.kind}, {self.fault}; {self.judged}"


JUDGED = ("plain", "a rule", "keep=1/4", "CertifiedRule")
BROKEN = [
    ("sqlite", "locked"),
    ("postgresql", "out of reach"),
    *((kind, "full") for kind in ("postgresql", "sqlite", "journal")),
]
CASES = [
    *(
        Case(kind, judged, "killed", 80 if judged == "plain" else 180)
        for kind in ("postgresql", "sqlite", "journal")
        for judged in JUDGED
    ),
    *(
        Case(kind, judged, fault, 40)
        for kind, fault in BROKEN
        for judged in ("plain", "keep=1/4", "CertifiedRule")
    ),
]


def measure(
    seed: int, until: float, cases: list[Case] = CASES, told: Callable[[str], None] = print
) -> list[Counted]:
    """Figures of all studies; `until` is a `time.monotonic`."""
    FORKED.set_forkserver_preload([work.__module__, *LOADED_LATE])
    numbers = random.Random(seed)
    rows: list[Counted] = []
    for number, case in enumerate(cases):
        share = (until - time.monotonic()) / (len(cases) - number)
        start = time.monotonic()
        try:
            found = run(case, numbers, start + share)
        except OSError as error:  # nothing may be mounted, or there is no PostgreSQL
            told(f"{case}: not run: {error}")
            continue
        rows += figures(str(case), case.judged, found)
        told(f"{case}: {len(found.trials)} trials, {time.monotonic() - start:.0f} s")
    return [*over_all(rows), *rows]


def over_all(rows: list[Counted]) -> list[Counted]:
    """Sums over the studies under this package, of what has a goal."""
    ours = [row for row in rows if not row.case.endswith("; plain")]
    sums = []
    for what in dict.fromkeys(row.what for row in ours if row.goal or "ended" in row.what):
        same = [row for row in ours if row.what == what]
        known = [row.out_of for row in same if row.out_of is not None]
        count = sum(row.counted for row in same)
        out_of = sum(known) if known else None
        sums.append(Counted("all of ours", what, count, out_of, same[0].goal))
    return sums


def run(case: Case, numbers: random.Random, until: float) -> Seen:
    """One study, from its first trial to one more after all of it."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with (
        place(case.kind, small=case.fault == "full") as (where, folder),
        tempfile.TemporaryDirectory() as notes,
    ):
        study_at(where.url, case.judged, new=True)
        workers = Workers(case, where.url, Path(notes))
        try:
            kills = happen(case, where, folder, workers, numbers, until)
        finally:
            workers.end()
        resumed = resume(case, where.url, Path(notes))
        study = study_at(where.url, case.judged)
        return seen(study, Path(notes), kills, resumed, case.trials)


class Workers:
    """Processes on a study; one that dies is started again while there is something to do."""

    def __init__(self, case: Case, url: str, notes: Path) -> None:
        self._arguments = (url, case.judged, case.trials, notes)
        self._running: list[BaseProcess] = [self._start() for _ in range(PROCESSES)]

    def keep_up(self) -> bool:
        """Start those again that died; whether any is left that has something to do."""
        for place_, process in enumerate(self._running):
            if process.exitcode not in (None, 0):
                self._running[place_] = self._start()
        return any(process.is_alive() for process in self._running)

    def kill(self, numbers: random.Random) -> bool:
        """One of them, with SIGKILL."""
        alive = [process for process in self._running if process.is_alive()]
        if not alive:
            return False
        chosen = numbers.choice(alive)
        assert chosen.pid is not None
        os.kill(chosen.pid, signal.SIGKILL)
        chosen.join()
        return True

    def end(self) -> None:
        """All of them."""
        for process in self._running:
            process.kill()
            process.join()

    def _start(self) -> BaseProcess:
        process = FORKED.Process(target=work, args=self._arguments, daemon=True)
        process.start()
        return process


def happen(
    case: Case,
    where: Place,
    folder: Path,
    workers: Workers,
    numbers: random.Random,
    until: float,
) -> int:
    """Break things until all trials have ended, or time is up; how many processes were killed.

    Twice as many are killed as there are processes, one whenever a share of the trials has ended,
    up to a second later; a storage is broken after a third of the trials, in the middle of work.
    """
    kills, breaking = 0, None
    study = study_at(where.url, case.judged)
    while workers.keep_up() and time.monotonic() < until:
        time.sleep(numbers.random())
        if breaking is not None and breaking.is_alive():
            continue
        try:
            done = finished(study)
        except Exception:  # it is out of reach for this process, too
            continue
        if case.fault == "killed" and done * 2 * PROCESSES >= kills * case.trials:
            kills += workers.kill(numbers)
        elif case.fault != "killed" and breaking is None and done >= case.trials / 3:
            breaking = threading.Thread(target=broken, args=(case.fault, where, folder))
            breaking.start()
    if breaking is not None:
        breaking.join()
    return kills


def resume(case: Case, url: str, notes: Path) -> str:
    """Run one more trial as a new process would; what came in its way, or nothing."""
    study = None
    try:
        study = study_at(url, case.judged)
        wanted = finished(study) + 1
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:200]
    process = FORKED.Process(target=work, args=(url, case.judged, wanted, notes), daemon=True)
    process.start()
    process.join(120)
    code = process.exitcode
    process.kill()
    return "" if code == 0 else f"one more trial ended with {code}"
