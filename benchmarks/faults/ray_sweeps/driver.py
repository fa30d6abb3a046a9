"""The driver of one sweep, in a process of its own, so that it can be killed and a hang ended."""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray import tune
from ray.tune.schedulers import (
    ASHAScheduler,
    FIFOScheduler,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    TrialScheduler,
)
from ray.tune.search.optuna import OptunaSearch

from benchmarks.faults.ray_sweeps.plan import Sweep
from benchmarks.faults.ray_sweeps.trial import ITERATIONS, build, space, train, training
from recent_prune.data import load_digits
from recent_prune.ray import ReconstructionEntropyScheduler

PROBE_TIMEOUT_S = 30.0
GIVEN_BACK_S = 30.0
"""For what is held to be counted as free again: nodes tell each other once in a while."""


def scheduler_of(sweep: Sweep, lane: str) -> TrialScheduler:
    """The scheduler of a sweep; probe actors take a share of the lane's resource."""
    made: dict[str, Any] = {
        "FIFO": FIFOScheduler,
        "ASHA": lambda: ASHAScheduler(max_t=ITERATIONS, grace_period=1, reduction_factor=2),
        "HyperBand": lambda: HyperBandScheduler(max_t=ITERATIONS, reduction_factor=2),
        "median": lambda: MedianStoppingRule("training_iteration", grace_period=2),
        "PBT": lambda: PopulationBasedTraining(
            "training_iteration",
            perturbation_interval=2,
            hyperparam_mutations={"lr": tune.loguniform(1e-4, 1e-1)},
        ),
    }
    wrapped: TrialScheduler = made[sweep.scheduler]()
    if not sweep.gated:
        return wrapped
    digits = load_digits()
    images, labels = digits.train[:64], digits.train_labels[:64]
    return ReconstructionEntropyScheduler(
        build,
        (images, labels) if sweep.first_steps else images,
        wrapped=wrapped,
        training=training if sweep.first_steps else None,
        keep=sweep.keep,
        timeout_s=PROBE_TIMEOUT_S,
        batch_size=2,
        probe_resources={"CPU": 0, lane: 1},
        deadline_s=5.0,
    )


class _States(tune.Callback):
    """Writes down what the controller's trials are doing whenever that changes."""

    def __init__(self, path: Path, scheduler: TrialScheduler | None) -> None:
        self._path, self._scheduler, self._last = path, scheduler, ""

    def on_step_end(self, iteration: int, trials: list[Any], **_: Any) -> None:
        del iteration
        states = " ".join(f"{trial.trial_id}={trial.status}" for trial in trials)
        if states != self._last:
            self._last = states
            told = "" if self._scheduler is None else self._scheduler.debug_string()
            with self._path.open("a") as file:
                file.write(f"{time.time():.1f} {states} {told!r}\n")


def tuner_of(sweep: Sweep, folder: Path, lane: str) -> tune.Tuner:
    """The tuner of a sweep, restored where there is something to restore."""
    trainable = tune.with_resources(train, {"cpu": 1, lane: 10})
    if tune.Tuner.can_restore(str(folder / "run")):
        return tune.Tuner.restore(str(folder / "run"), trainable=trainable)
    scheduler = scheduler_of(sweep, lane)
    searcher = OptunaSearch(metric="score", mode="max", seed=sweep.seed) if sweep.optuna else None
    return tune.Tuner(
        trainable,
        param_space=space(folder, sweep.probes),
        tune_config=tune.TuneConfig(
            metric="score",
            mode="max",
            num_samples=sweep.trials,
            scheduler=scheduler,
            search_alg=searcher,
        ),
        run_config=tune.RunConfig(
            storage_path=str(folder),
            name="run",
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=3),
            callbacks=[_States(folder / "states", scheduler)],
        ),
    )


def not_given_back(lane: str) -> dict[str, float]:
    """What is still held of the lane's resource when the sweep is over."""
    end = time.monotonic() + GIVEN_BACK_S
    while True:
        all_of, free = ray.cluster_resources(), ray.available_resources()
        held = {lane: all_of.get(lane, 0.0) - free.get(lane, 0.0)}
        if abs(held[lane]) < 1e-6 or time.monotonic() > end:
            return {name: amount for name, amount in held.items() if abs(amount) >= 1e-6}
        time.sleep(0.5)


def drive(sweep: Sweep, folder: Path, address: str, lane: str) -> None:
    """Run the sweep, or go on with it, and write down how it ended."""
    log = os.open(folder / "driver.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, sys.stdout.fileno())
    os.dup2(log, sys.stderr.fileno())
    faulthandler.register(signal.SIGUSR2, (folder / "stacks-driver").open("w"), all_threads=True)
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    random.seed(sweep.seed)
    np.random.seed(sweep.seed)
    ended: dict[str, Any] = {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        results = tuner_of(sweep, folder, lane).fit()
        trials: list[Any] = results._experiment_analysis.trials
        ended["trials"] = {trial.trial_id: trial.status for trial in trials}
        ended["held"] = not_given_back(lane)
    except BaseException:
        ended["error"] = traceback.format_exc()
    (folder / "ended.partial").write_text(json.dumps(ended))
    (folder / "ended.partial").rename(folder / "ended.json")
    os._exit(0)  # whatever threads there are
