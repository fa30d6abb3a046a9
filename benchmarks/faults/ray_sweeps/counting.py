"""What went wrong in a sweep, counted from what it left."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from benchmarks.faults.ray_sweeps.marks import Mark, marks_in
from benchmarks.faults.ray_sweeps.running import Ran
from recent_prune.ray import probed_trials


@dataclass(frozen=True)
class Row:
    """What became of one sweep.

    Attributes:
        number: Of the sweep.
        gated: Whether with our scheduler.
        scheduler: Tune's.
        drawn: What else was drawn, in words.
        killed: What was, and after how many signs of life.
        hangs: 1 if it had to be ended.
        errors: 1 if its driver raised.
        lost: Trials that did not end well, or were never sampled.
        twice: Trials that ran in two processes at a time, or again after they had finished.
        repeated: Trials that ran again because Tune, which saves its state every ten seconds or
            so, had not saved that they had finished when its driver was killed.
        condemned_launched: Trials that started though a verdict against them stood.
        held: Trials that the gate held in the end.
        kept_resources: 1 if not all was free again.
        unprobed: Trials that could not be probed.
        recovery_s: Seconds from each kill to the first sign of life of a new process.
        seconds: In all.
    """

    number: int
    gated: bool
    scheduler: str
    drawn: str
    killed: str
    hangs: int
    errors: int
    lost: int
    twice: int
    repeated: int
    condemned_launched: int
    held: int
    kept_resources: int
    unprobed: int
    recovery_s: str
    seconds: float


def counted(ran: Ran) -> Row:
    """The faults of a sweep."""
    marks = marks_in(ran.folder)
    sweep, ended = ran.sweep, ran.ended
    hung, raised = ran.hung or not ended, "error" in ended
    states = ended.get("trials")
    well = list(states.values()).count("TERMINATED") if isinstance(states, dict) else 0
    condemned: set[str] = set()
    if (ran.folder / "run").is_dir():  # not where the driver was killed before
        verdicts = probed_trials(ran.folder / "run").set_index("trial_id")
        condemned = set(verdicts.index[verdicts["trainable"].eq(False) & verdicts["fault"].isna()])
    again = finished_again(marks)
    restored = any(kill.victim == "driver" for kill, *_ in ran.killed)
    return Row(
        number=sweep.number,
        gated=sweep.gated,
        scheduler=sweep.scheduler,
        drawn=_told(ran),
        killed=", ".join(f"{kill.victim} after {kill.after}" for kill, *_ in ran.killed),
        hangs=int(hung),
        errors=int(raised),
        lost=0 if hung or raised else sweep.trials - well,
        twice=len(at_a_time(marks) | (set() if restored else again)),
        repeated=len(again) if restored else 0,
        condemned_launched=len(condemned & {m.trial for m in marks if m.what == "started"}),
        held=_held(ran.folder),
        kept_resources=int(bool(ended.get("held"))),
        unprobed=int(verdicts["fault"].notna().sum()),
        recovery_s=json.dumps([round(s, 1) for s in recoveries(ran, marks)]),
        seconds=round(ran.seconds, 1),
    )


def finished_again(marks: Sequence[Mark]) -> set[str]:
    """Trials that finished more than once."""
    finished = [mark.trial for mark in marks if mark.what == "finished"]
    return {trial for trial in finished if finished.count(trial) > 1}


def at_a_time(marks: Sequence[Mark]) -> set[str]:
    """Trials that worked in two processes at a time."""
    found = set()
    for trial in {mark.trial for mark in marks if mark.trial}:
        pids = [mark.pid for mark in marks if mark.trial == trial]
        # In one process after the other: each comes up in one stretch.
        stretches = 1 + sum(one != next_one for one, next_one in pairwise(pids))
        if stretches > len(set(pids)):
            found.add(trial)
    return found


def recoveries(ran: Ran, marks: Sequence[Mark]) -> list[float]:
    """Seconds from each kill until a new process gives a sign of life.

    Of the same trial, where one was killed; a probe after a probe; else whatever it works for.
    """
    found = []
    for kill, moment, pid in ran.killed:
        before = {mark.pid: mark.trial for mark in marks if mark.time <= moment}
        new = [mark for mark in marks if mark.time > moment and mark.pid not in before]
        if kill.victim in ("trial", "probe"):
            new = [mark for mark in new if mark.trial == before.get(pid)]
        found += [new[0].time - moment] if new else []
    return found


def _told(ran: Ran) -> str:
    sweep = ran.sweep
    parts = [f"{sweep.trials} trials", "OptunaSearch" if sweep.optuna else "at random"]
    if sweep.gated:
        parts.append("first steps" if sweep.first_steps else "initialization")
        parts += [f"keep={sweep.keep:g}"] if sweep.keep < 1 else []
        told = {None: "a stuck probe", 0.0: ""}.get(sweep.probes, "slow probes")
        parts += [told] if told else []
    return ", ".join(parts)


def _held(folder: Path) -> int:
    """What the gate said last of what it holds."""
    try:
        last = (folder / "states").read_text().splitlines()[-1]
    except (OSError, IndexError):
        return 0
    found = re.search(r"(\d+) held, ", last)
    return int(found[1]) if found else 0
