"""As many trials as fit, on a real Ray: two slots with a logical GPU each."""

from __future__ import annotations

import random
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import ray
from ray import tune
from torch import nn

from benchmarks.ray_gate.row import Row
from recent_prune.data import load_digits
from recent_prune.ray import ReconstructionEntropyScheduler, build_probed_model

DEPTH = 40
WIDTH = 64
GAINS = {False: 1.2, True: 0.3}
"""Standard deviation of the weights times √width: one that trains, one that loses everything."""


def build_model(config: dict[str, Any]) -> nn.Module:
    """A deep tanh network."""
    layers: list[nn.Module] = [nn.Flatten()]
    for _ in range(DEPTH):
        linear = nn.Linear(WIDTH, WIDTH)
        nn.init.normal_(linear.weight, std=config["gain"] / WIDTH**0.5)
        layers += [linear, nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear(WIDTH, 10))


def train(config: dict[str, Any]) -> None:
    """Builds the model and sleeps in place of training, lest trials share two cores."""
    Path(config["folder"], f"started-{tune.get_context().get_trial_id()}").touch()
    build_probed_model(build_model, config)
    for epoch in range(1, 4):
        time.sleep(config["train_s"] / 3)
        tune.report({"score": (1.0 if config["gain"] > 1 else 0.1) * epoch})


class _Held:
    """Integrates what trials and probes hold, ten times a second."""

    def __init__(self) -> None:
        self.cpu_s = self.gpu_s = self.probe_s = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _Held:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        total = ray.cluster_resources()
        last = time.monotonic()
        while not self._stop.wait(0.1):
            free, now = ray.available_resources(), time.monotonic()
            self.cpu_s += (total["CPU"] - free.get("CPU", 0.0)) * (now - last)
            self.gpu_s += (total["GPU"] - free.get("GPU", 0.0)) * (now - last)
            self.probe_s += _probe_actors() * (now - last)
            last = now


def _probe_actors() -> int:
    count = 0
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            count += file.read_text().startswith("ray::ProbeActor")
        except OSError:
            continue
    return count


def run(gated: bool, doomed: float, trials: int, train_s: float, number: int) -> Row:
    """One run, with the gate or without, within a running Ray."""
    condemned = set(random.Random(0).sample(range(trials), round(doomed * trials)))
    with tempfile.TemporaryDirectory() as folder:
        scheduler = ReconstructionEntropyScheduler(build_model, load_digits().train)
        space = {
            "index": tune.grid_search(list(range(trials))),
            "gain": tune.sample_from(lambda config: GAINS[config["index"] in condemned]),
            "train_s": train_s,
            "folder": folder,
        }
        tuner = tune.Tuner(
            tune.with_resources(train, {"cpu": 1, "gpu": 1}),
            param_space=space,
            tune_config=tune.TuneConfig(
                metric="score", mode="max", scheduler=scheduler if gated else None
            ),
            run_config=tune.RunConfig(storage_path=folder, name="run", verbose=0),
        )
        start, before = time.perf_counter(), time.process_time()
        with _Held() as held:
            results = tuner.fit()
        wall, driver = time.perf_counter() - start, time.process_time() - before
        starts = len(list(Path(folder).glob("started-*")))
        if results.num_errors or (gated and starts != trials - len(condemned)):
            raise RuntimeError(f"{results.num_errors} errors, {starts} trials started")
        best = results.get_best_result().metrics
        assert best is not None
    return Row(
        kind="real",
        scheduler="FIFO",
        trials=trials,
        doomed=doomed,
        gated=gated,
        round=number,
        wall_s=wall,
        worker_starts=starts,
        worker_s=held.cpu_s,
        gpu_s=held.gpu_s,
        driver_cpu_s=driver,
        probe_s=held.probe_s,
        best=best["score"],
    )
