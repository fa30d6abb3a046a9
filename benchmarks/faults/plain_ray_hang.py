"""Plain Ray Tune hangs under HyperBand where a trial's process dies at a bad moment.

    python -m benchmarks.faults.plain_ray_hang

Nothing of this package is imported. Four trials of four iterations, two of them in HyperBand's
first bracket. Trial 0 comes to its end and is paused until the rest of its bracket has come as far;
then the process of trial 1 dies, as it would with its node. Tune starts trial 1 anew, which ends
well, in the next bracket. Trial 0 stays PAUSED, and `fit` never returns; here it is left
when nothing else has been going on for ``PATIENCE_S``.

The cause, in ``ray/tune/schedulers/hyperband.py`` of Ray 2.60: a trial that fails leaves its
bracket, and ``on_trial_remove`` goes on with the others only where
``not bracket.finished() and not bracket.is_being_processed``. In a bracket's last round, all others
being through, ``finished()`` is true, so nobody ends those that are paused; and
``is_being_processed`` is set when a bracket is halved and never cleared, so after one halving
nobody wakes them either. `recent_prune.ray.schedulers.go_on_with_forgotten` does, which the gate
calls at each step.
"""

from __future__ import annotations

import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import HyperBandScheduler

PATIENCE_S = 20.0


def train(config: dict[str, Any]) -> None:
    """Four iterations with checkpoints; trial 1 kills itself once, when trial 0 is paused."""
    folder = Path(config["folder"])
    first = 0
    if (checkpoint := tune.get_checkpoint()) is not None:
        with checkpoint.as_directory() as saved:
            first = int(Path(saved, "iteration").read_text())
    for iteration in range(first + 1, 5):
        if (config["index"], iteration) == (1, 4) and not (folder / "died").exists():
            while not (folder / "paused").exists():
                time.sleep(0.1)
            (folder / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        saved = folder / f"{config['index']}-{iteration}"
        saved.mkdir(exist_ok=True)
        (saved / "iteration").write_text(str(iteration))
        tune.report({"score": iteration}, checkpoint=tune.Checkpoint(str(saved)))


class Watch(tune.Callback):
    """Prints what the trials are doing, and leaves when all that are left are paused for good."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._last: list[str] = []
        self._since = time.monotonic()

    def on_step_end(self, iteration: int, trials: list[Any], **_: Any) -> None:
        """Look once a step."""
        del iteration
        states = [f"{trial.config['index']} {trial.status}" for trial in trials]
        if "0 PAUSED" in states:
            (self._folder / "paused").touch()
        if states != self._last:
            print(time.strftime("%X"), ", ".join(states), flush=True)
            self._last, self._since = states, time.monotonic()
        idle = all(trial.status in ("PAUSED", "TERMINATED") for trial in trials)
        if idle and time.monotonic() - self._since > PATIENCE_S:
            raise SystemExit(f"Nothing runs, nothing waits, for {PATIENCE_S:g} s: it hangs.")


def main() -> None:
    """Run the sweep."""
    folder = Path(tempfile.mkdtemp(prefix="plain_ray_hang-"))
    ray.init("local", num_cpus=4, include_dashboard=False, log_to_driver=False)
    tune.Tuner(
        tune.with_resources(train, {"cpu": 1}),
        param_space={"index": tune.grid_search([0, 1, 2, 3]), "folder": str(folder)},
        tune_config=tune.TuneConfig(
            metric="score", mode="max", scheduler=HyperBandScheduler(max_t=4)
        ),
        run_config=tune.RunConfig(
            storage_path=str(folder),
            name="run",
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=1),
            callbacks=[Watch(folder)],
        ),
    ).fit()
    print("It does not hang.")


if __name__ == "__main__":
    main()
