"""A thousand trials: Tune itself, with its workers and the probes on virtual time."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from benchmarks.ray_gate.row import Row
from tests.ray.simulation import TimedGate, simulated, tuner

SLOTS = 20
EPOCHS = 9
EPOCH_S = 10.0
"""Nine epochs of ten seconds, and four to start a worker (`START_S`)."""
PROBE_S = 0.1
"""As measured for 60 layers of 64 in a probe actor."""

SCHEDULERS: dict[str, Callable[[], TrialScheduler]] = {
    "FIFO": FIFOScheduler,
    "ASHA": lambda: ASHAScheduler(max_t=EPOCHS, grace_period=1, reduction_factor=3),
}


def report(config: dict[str, Any], iteration: int) -> dict[str, Any]:
    """A doomed trial stays near chance."""
    learnt = 0.0 if config["doomed"] else 1 - 0.7**iteration
    score = 0.1 + config["quality"] * (0.01 + 0.8 * learnt)
    return {"score": score, "done": iteration >= EPOCHS}


def run(scheduler: str, gated: bool, doomed: float, trials: int) -> Row:
    """One run of a scheduler, with or without the gate."""
    numbers = random.Random(0)
    condemned = set(numbers.sample(range(trials), round(doomed * trials)))
    quality = [numbers.random() for _ in range(trials)]
    space = {
        "index": tune.grid_search(list(range(trials))),
        "quality": tune.sample_from(lambda config: quality[config["index"]]),
        "doomed": tune.sample_from(lambda config: config["index"] in condemned),
    }
    wrapped = SCHEDULERS[scheduler]()
    with (
        tempfile.TemporaryDirectory() as folder,
        simulated(SLOTS, report, epoch_s=EPOCH_S) as log,
    ):
        gate = TimedGate(wrapped, log, PROBE_S)
        chosen = gate if gated else wrapped
        before = time.process_time()
        results = tuner(Path(folder), chosen, space, 1).fit()
        driver = time.process_time() - before
    best = results.get_best_result().metrics
    assert best is not None
    return Row(
        kind="simulated",
        scheduler=scheduler,
        trials=trials,
        doomed=doomed,
        gated=gated,
        round=0,
        wall_s=log.makespan_s,
        worker_starts=log.worker_starts,
        worker_s=log.worker_s,
        gpu_s=log.worker_s,
        driver_cpu_s=driver,
        probe_s=gate.pool.busy_s if gated else 0.0,
        best=best["score"],
    )
