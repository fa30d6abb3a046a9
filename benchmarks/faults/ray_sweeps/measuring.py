"""All sweeps, and their figures."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.faults.counted import Counted
from benchmarks.faults.ray_sweeps.cluster import Lane, lanes
from benchmarks.faults.ray_sweeps.counting import Row, counted
from benchmarks.faults.ray_sweeps.plan import Sweep, drawn
from benchmarks.faults.ray_sweeps.running import Running

RUNS = Path(__file__).parent / "runs.csv"
LANES = 3
EACH_PLAIN = 3
"""Of the sweeps; not a divisor of the number of schedulers, so that each comes in turn."""
FAULTS = {
    "hangs": "hangs",
    "errors": "sweeps that raised",
    "lost": "trials lost",
    "twice": "trials run twice",
    "repeated": "trials run again after a restore, not saved as finished",
    "condemned_launched": "condemned trials launched",
    "held": "held trials never released",
    "kept_resources": "resources not given back",
}


def measured(
    seed: int, until: float, sweeps: int | None = None, lane_count: int = LANES, runs: Path = RUNS
) -> list[Counted]:
    """Run sweeps and count.

    Args:
        seed: What is drawn.
        until: A `time.monotonic`, after which no sweep begins.
        sweeps: How many, at most.
        lane_count: Sweeps at a time.
        runs: Where the line of each is kept.
    """
    folder = Path(os.environ.get("RECENT_PRUNE_FAULTS", tempfile.mkdtemp(prefix="ray_sweeps-")))
    rows: list[Row] = []
    with lanes(lane_count) as free:
        numbers = itertools.count() if sweeps is None else range(sweeps)
        drawn_ones = (drawn(seed, number) for number in numbers)
        waiting = (arm for sweep in drawn_ones for arm in arms(sweep))
        running: dict[Lane, Running] = {}
        while True:
            for lane in free:
                if lane in running:
                    ran = running[lane].poll()
                    if ran is not None:
                        del running[lane]
                        rows.append(row := counted(ran))
                        print(row, flush=True)
                        table(rows).to_csv(runs, index=False)
                        if not any(getattr(row, fault) for fault in FAULTS):
                            shutil.rmtree(ran.folder)
                elif time.monotonic() < until and lane.is_free():
                    sweep = next(waiting, None)
                    if sweep is not None:
                        kind = "gated" if sweep.gated else "plain"
                        running[lane] = Running(sweep, folder / f"{sweep.number}-{kind}", lane)
                    else:
                        until = 0.0
            if not running and time.monotonic() >= until:
                return figures(table(rows))
            time.sleep(0.2)


def table(rows: list[Row]) -> pd.DataFrame:
    """One line a sweep."""
    return pd.DataFrame([asdict(row) for row in rows])


def arms(sweep: Sweep) -> list[Sweep]:
    """With our scheduler, and one of `EACH_PLAIN` by the wrapped one alone."""
    return [sweep, *([] if sweep.number % EACH_PLAIN else [sweep.plain])]


def figures(runs: pd.DataFrame) -> list[Counted]:
    """What is reported of the sweeps."""
    found = []
    for gated in sorted(runs["gated"].unique(), reverse=True):
        arm = runs[runs["gated"] == gated]
        case = "with our scheduler" if gated else "Ray alone, the same sweeps"
        killed = int(arm["killed"].fillna("").ne("").sum())
        note = f"{killed} of them with kills"
        for column, what in FAULTS.items():
            if gated or column not in ("condemned_launched", "held"):
                goal = "0" if gated and column != "repeated" else ""
                found.append(Counted(case, what, int(arm[column].sum()), len(arm), goal, note))
            note = ""
        seconds = [s for row in arm["recovery_s"] for s in json.loads(row)]
        for share, name in {50: "median", 100: "longest"}.items():
            value = round(float(np.percentile(seconds, share)), 1) if seconds else float("nan")
            found.append(Counted(case, f"seconds to recovery, {name}", value, len(seconds)))
    return found
