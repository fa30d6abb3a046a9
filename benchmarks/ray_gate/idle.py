"""How long workers wait while candidates are held for rung zero.

    python -m benchmarks.ray_gate.idle   # half an hour, most of it waiting

Protocol. Sixty-four candidates, ``keep=1/8``, two slots of a real Ray. A trial starts a worker and
sleeps for ``--train-s`` seconds in place of training; networks, learning rates, probes, first steps
and the ranking are real, and what a trial reports is the better the nearer its rate is to 0.1 (so
that the ranking holds). The same number of trials is run without our scheduler, as many as rung
zero started, in turns. Counted, from Tune's own events, is for how long each slot had no trial:

- *before the last start*, over both slots' seconds until then: while work is left, so that a slot
  without a trial waits for it (after the last start one is idle in any sweep);
- *after the first start*: the same without the wait for the first verdicts, in which the actor
  starts and the first eight candidates are probed.

Ray itself takes a moment between two trials; the rows without our scheduler tell how long. Writes
``idle.csv`` (a row a run), ``idle.md`` and ``idle_environment.json``.
"""

from __future__ import annotations

import logging
import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import ray
import torch
import typer
from ray import tune
from torch import nn

import recent_prune as rp
from benchmarks.environment import save_environment, told
from benchmarks.tables import markdown
from recent_prune.data import load_digits
from recent_prune.ray import ReconstructionEntropyScheduler

FOLDER = Path(__file__).parent
SLOTS = 2
KEEP = 1 / 8
BUDGET = 500
"""Steps that the training would have that the seconds of sleep stand for."""

Held = tuple[float, float]
"""Seconds at which a slot was taken and given back."""


@dataclass(frozen=True)
class Idle:
    """Of a run, in seconds of slots.

    Attributes:
        waited: Without a trial, until the last start.
        later: Of these, after the first start.
        until: Slots times the seconds until the last start.
    """

    waited: float
    later: float
    until: float


def idle(held: Sequence[Held], begin: float, slots: int) -> Idle:
    """For how long slots had no trial while trials were still to be started.

    Args:
        held: Of each trial; at most ``slots`` at a time.
        begin: When the run began.
        slots: How many there are.
    """
    starts = [start for start, _ in held]
    first, last = min(starts), max(starts)

    def without(since: float) -> float:
        taken = sum(max(min(end, last) - max(start, since), 0.0) for start, end in held)
        return slots * (last - since) - taken

    return Idle(without(begin), without(first), slots * (last - begin))


class Times(tune.Callback):
    """When each trial held a slot."""

    def __init__(self) -> None:
        self.started: dict[str, float] = {}
        self.ended: dict[str, float] = {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A worker is being started."""
        del iteration, trials, info
        self.started.setdefault(trial.trial_id, time.monotonic())

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """It is done; condemned trials end here without having started."""
        del iteration, trials, info
        self.ended[trial.trial_id] = time.monotonic()

    def held(self) -> list[Held]:
        """Of all that were started."""
        return [(start, self.ended[name]) for name, start in self.started.items()]


def build_model(config: dict[str, Any]) -> nn.Module:
    """An MLP for the digits."""
    return rp.networks.mlp(64, 10, depth=config["depth"], width=config["width"])


def training(model: nn.Module, config: dict[str, Any]) -> rp.Training:
    """As it would be trained."""
    optimizer = torch.optim.SGD(model.parameters(), config["learning_rate"], momentum=0.9)
    return rp.Training(nn.functional.cross_entropy, optimizer, budget=BUDGET)


def train(config: dict[str, Any]) -> None:
    """Sleeps in place of training, lest trials share two cores."""
    time.sleep(config["train_s"])
    tune.report({"score": -abs(math.log10(config["learning_rate"]) + 1)})


def run(candidates: int, train_s: float, *, gated: bool, number: int) -> dict[str, Any]:
    """One run within a running Ray."""
    digits = load_digits()
    images, labels = digits.train.flatten(1)[:512], digits.train_labels[:512]
    scheduler = ReconstructionEntropyScheduler(
        build_model,
        list(zip(images.split(64), labels.split(64), strict=True)),
        training=training,
        keep=KEEP,
    )
    times = Times()
    with tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            tune.with_resources(train, {"cpu": 1}),
            param_space={
                "depth": tune.randint(1, 8),
                "width": tune.choice([32, 64, 128]),
                "learning_rate": tune.loguniform(1e-5, 1.0),
                "train_s": train_s,
            },
            tune_config=tune.TuneConfig(
                metric="score",
                mode="max",
                num_samples=candidates,
                scheduler=scheduler if gated else None,
            ),
            run_config=tune.RunConfig(
                storage_path=folder, name="run", verbose=0, callbacks=[times]
            ),
        )
        begin = time.monotonic()
        results = tuner.fit()
        wall = time.monotonic() - begin
    if results.num_errors:
        raise RuntimeError(f"{results.num_errors} trials failed")
    found = idle(times.held(), begin, SLOTS)
    return {
        "gated": gated,
        "round": number,
        "candidates": candidates,
        "started": len(times.started),
        "train_s": train_s,
        "wall_s": wall,
        **asdict(found),
    }


def table(runs: pd.DataFrame) -> pd.DataFrame:
    """Medians over rounds."""
    rows = []
    for gated, part in runs.groupby("gated", sort=False):
        shares = 100 * part["waited"] / part["until"]
        later = 100 * part["later"] / (part["until"] - part["waited"] + part["later"])
        rows.append(
            {
                "": "keep=1/8" if gated else "without",
                "candidates": int(part["candidates"].median()),
                "started": f"{part['started'].median():.0f}",
                "wall clock": f"{part['wall_s'].median():.0f} s",
                "idle before the last start": f"{part['waited'].median():.1f} s of "
                f"{part['until'].median():.0f} ({shares.median():.1f} %)",
                "of that after the first": f"{part['later'].median():.1f} s "
                f"({later.median():.1f} %)",
            }
        )
    return pd.DataFrame(rows)


def main(
    candidates: Annotated[int, typer.Option(help="Of the run with rung zero.")] = 64,
    train_s: Annotated[float, typer.Option(help="Seconds of a training.")] = 60.0,
    rounds: Annotated[int, typer.Option(help="Pairs of runs.")] = 3,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = FOLDER,
) -> None:
    """Measure and write down."""
    ray.init(
        num_cpus=SLOTS, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
    )
    rows: list[dict[str, Any]] = []
    for number in range(rounds):
        rows.append(run(candidates, train_s, gated=True, number=number))
        rows.append(run(rows[-1]["started"], train_s, gated=False, number=number))
        print(pd.DataFrame(rows[-2:]).to_string(index=False), flush=True)
        pd.DataFrame(rows).to_csv(out / "idle.csv", index=False, float_format="%.5g")
    ray.shutdown()
    save_environment(out / "idle_environment.json")
    text = (
        f"`python -m benchmarks.ray_gate.idle --candidates {candidates} --train-s {train_s:g} "
        f"--rounds {rounds}`: {SLOTS} slots, medians over the rounds; {told('ray')}."
        f"\n\n{markdown(table(pd.DataFrame(rows)))}\n"
    )
    (out / "idle.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    typer.run(main)
