"""The sweeps in which things die: what is drawn, what is counted, and two of them for real."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.faults.ray_sweeps.counting import Row, counted, recoveries
from benchmarks.faults.ray_sweeps.marks import Mark, marks_in
from benchmarks.faults.ray_sweeps.measuring import FAULTS, arms, figures, measured
from benchmarks.faults.ray_sweeps.plan import SCHEDULERS, VICTIMS, Kill, Sweep, drawn
from benchmarks.faults.ray_sweeps.running import Ran
from recent_prune.ray.judging.outcome import Outcome

SWEEP = Sweep(7, True, "HyperBand", False, 3, True, 0.5, None, (Kill("trial", 2),))


def test_a_sweep_is_drawn_by_seed_and_number() -> None:
    sweeps = [drawn(0, number) for number in range(100)]
    assert sweeps == [drawn(0, number) for number in range(100)]
    assert sweeps != [drawn(1, number) for number in range(100)]
    assert Counter(sweep.scheduler for sweep in sweeps) == dict.fromkeys(SCHEDULERS, 20)
    victims = Counter(kill.victim for sweep in sweeps for kill in sweep.kills)
    assert all(victims[victim] >= 10 for victim in VICTIMS)
    assert {sweep.probes for sweep in sweeps} == {0.0, 1.0, None}
    assert {sweep.keep for sweep in sweeps if not sweep.first_steps} == {1.0}
    assert not any(sweep.optuna for sweep in sweeps if sweep.scheduler == "PBT")


def test_the_plain_arm_differs_in_the_scheduler_alone() -> None:
    sweep, plain = arms(drawn(0, 3))
    assert {**asdict(sweep), "gated": False} == asdict(plain)
    assert arms(drawn(0, 4)) == [drawn(0, 4)]


def leave(folder: Path, *marks: tuple[str, str, int, float], verdicts: str = "") -> None:
    """Marks (what, trial, process, time), and the trials with a verdict against them."""
    for what, trial, pid, moment in marks:
        with (folder / f"marks-{pid}").open("a") as file:
            file.write(json.dumps(asdict(Mark(what, trial, pid, "node", 1, moment))) + "\n")
    outcomes = [Outcome(name, summary={"trainable": False}).to_dict() for name in verdicts]
    (folder / "run" / "recent_prune").mkdir(parents=True)
    known = [{"config": "", "outcome": outcome} for outcome in outcomes]
    (folder / "run" / "recent_prune" / "1.json").write_text(json.dumps(known))


def faults(row: Row) -> dict[str, int]:
    return {name: getattr(row, name) for name in FAULTS if getattr(row, name)}


ENDED: dict[str, object] = {"trials": dict.fromkeys("abc", "TERMINATED"), "held": {}}


def test_a_sweep_in_which_all_went_well(tmp_path: Path) -> None:
    leave(
        tmp_path,
        *[("started", "a", 1, 10.0), ("iteration", "a", 1, 11.0)],
        *[("started", "a", 2, 15.0), ("finished", "a", 2, 16.0)],
        *[("started", "b", 3, 14.0), ("finished", "b", 3, 17.0)],
        verdicts="c",
    )
    killed = [(Kill("trial", 2), 12.0, 1)]
    ran = Ran(SWEEP, tmp_path, ended=ENDED, killed=killed)
    row = counted(ran)
    assert faults(row) == {}
    assert row.killed == "trial after 2"
    assert row.recovery_s == "[3.0]"  # the same trial, not that of process 3
    assert "first steps, keep=0.5, a stuck probe" in row.drawn


@pytest.mark.parametrize(
    ("marks", "verdicts", "ended", "expected"),
    [
        ([("started", "c", 1, 1.0)], "c", ENDED, {"condemned_launched": 1}),
        ([("finished", "a", 1, 1.0), ("finished", "a", 2, 2.0)], "", ENDED, {"twice": 1}),
        (
            [("started", "a", 1, 1.0), ("started", "a", 2, 2.0), ("iteration", "a", 1, 3.0)],
            "",
            ENDED,
            {"twice": 1},
        ),
        ([], "", {"trials": {"a": "TERMINATED", "b": "ERROR"}, "held": {}}, {"lost": 2}),
        ([], "", {**ENDED, "held": {"lane0": 1.0}}, {"kept_resources": 1}),
        ([], "", {"error": "RuntimeError"}, {"errors": 1}),
        ([], "", {}, {"hangs": 1}),
    ],
)
def test_each_fault_is_counted(
    marks: list[tuple[str, str, int, float]],
    verdicts: str,
    ended: dict[str, object],
    expected: dict[str, int],
    tmp_path: Path,
) -> None:
    leave(tmp_path, *marks, verdicts=verdicts)
    assert faults(counted(Ran(SWEEP, tmp_path, ended=ended))) == expected


def test_what_ran_again_after_the_driver_was_killed_is_no_doubling(tmp_path: Path) -> None:
    leave(tmp_path, ("finished", "a", 1, 1.0), ("finished", "a", 2, 9.0))
    ran = Ran(SWEEP, tmp_path, ended=ENDED, killed=[(Kill("driver", 1), 2.0, 0)])
    assert faults(counted(ran)) == {"repeated": 1}


def test_what_the_gate_held_last_is_counted(tmp_path: Path) -> None:
    leave(tmp_path)
    told = "1 passed, 0 rejected, 2 held, 0 could not be probed"
    (tmp_path / "states").write_text(f"1.0 a=PENDING 'FIFO\\n{told}'\n")
    assert faults(counted(Ran(SWEEP, tmp_path, hung=True))) == {"hangs": 1, "held": 2}


def test_a_probe_recovers_by_a_probe(tmp_path: Path) -> None:
    leave(tmp_path, ("probing", "", 1, 1.0), ("started", "a", 2, 3.0), ("probing", "", 4, 7.0))
    ran = Ran(SWEEP, tmp_path, killed=[(Kill("probe", 1), 2.0, 1), (Kill("node", 2), 2.5, 0)])
    assert recoveries(ran, marks_in(tmp_path)) == [5.0, 0.5]


def test_half_a_line_is_no_mark_yet(tmp_path: Path) -> None:
    leave(tmp_path, ("started", "a", 1, 1.0))
    with (tmp_path / "marks-1").open("a") as file:
        file.write('{"what": "iter')
    assert [mark.what for mark in marks_in(tmp_path)] == ["started"]


def test_figures(tmp_path: Path) -> None:
    leave(tmp_path)
    good = counted(Ran(SWEEP, tmp_path, ended=ENDED))
    bad = counted(Ran(SWEEP.plain, tmp_path, ended={}))
    told = figures(pd.DataFrame([asdict(good), asdict(bad)]))
    hangs = {row.case: (row.counted, row.out_of, row.goal) for row in told if row.what == "hangs"}
    assert hangs == {
        "with our scheduler": (0, 1, "0"),
        "Ray alone, the same sweeps": (1, 1, ""),
    }
    assert {"held trials never released"} <= {row.what for row in told if row.goal == "0"}


@pytest.mark.slow
def test_two_sweeps_for_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the first one a probe actor is killed while it has other trials to probe."""
    monkeypatch.setenv("RECENT_PRUNE_FAULTS", str(tmp_path / "sweeps"))
    runs = tmp_path / "runs.csv"
    told = measured(117, time.monotonic() + 900, sweeps=1, lane_count=1, runs=runs)
    table = pd.read_csv(runs)
    assert sorted(table["gated"]) == [False, True]
    assert {row.what: row.counted for row in told if row.goal == "0" and row.counted} == {}
    assert json.loads(table.loc[table["gated"], "recovery_s"].iloc[0])
