"""Probe every trial as a user would, then train it for its whole budget.

    python -m benchmarks.prediction.elsewhere.train --data-root ../shared/data   # an hour, one core

Protocol: from one initialization and with the same batches, one thread. The probe is the default
one, with the trial's loss, optimizer, schedule, clipping and budget. Then the training: test loss
and accuracy (see `benchmarks.prediction.trials.tasks.Task.accuracy`) after 1, 2, 4, … steps and at
the end, in evaluation mode; a loss that is not finite ends it. ``trials.parquet`` has a row a
trial, with the probe's result; ``trained.parquet`` a row a checkpoint. Both are written every few
dozen trials, and trials that are in them are skipped.
"""

from __future__ import annotations

import json
import math
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import torch
import typer
from rich.progress import track

import recent_prune as rp
from benchmarks.prediction.elsewhere.networks import build
from benchmarks.prediction.elsewhere.specification import Specification, sample
from benchmarks.prediction.elsewhere.tasks import task
from benchmarks.prediction.trials.tasks import Task
from benchmarks.prediction.trials.train import EVERY, checkpoints, tested

FOLDER = Path(__file__).parent
TRIALS = FOLDER / "trials.parquet"
TRAINED = FOLDER / "trained.parquet"


def probed(s: Specification, of: Task) -> rp.ProbeResult:
    """The default probe after the default first steps."""
    training = rp.Training(
        of.loss,
        s.make_optimizer,
        scheduler=s.make_schedule,
        clip_norm=s.clip_norm,
        budget=s.budget,
    )
    with warnings.catch_warnings(action="ignore"):
        return rp.probe(build(s, of), s.batches(of), training=training)


def trained(s: Specification, of: Task) -> list[dict[str, float]]:
    """A row a checkpoint."""
    model = build(s, of)
    optimizer = s.make_optimizer(model.parameters())
    schedule = s.make_schedule(optimizer)
    torch.manual_seed(s.index)  # of dropout
    rows: list[dict[str, float]] = []
    wanted = set(checkpoints(s.budget))
    for step, (x, y) in zip(range(1, s.budget + 1), s.batches(of), strict=False):
        loss = of.loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        if s.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), s.clip_norm)
        optimizer.step()
        schedule.step()
        if not math.isfinite(float(loss.detach())):
            rows.append({"step": step, "loss": math.nan, "accuracy": math.nan})
            break
        if step in wanted:
            loss_there, accuracy = tested(model, of)
            rows.append({"step": step, "loss": loss_there, "accuracy": accuracy})
    return rows


def _both(job: tuple[Specification, Path]) -> tuple[dict[str, Any], list[dict[str, float]]]:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    s, root = job
    of = task(s.task, root)
    loss, accuracy = of.constant
    described: dict[str, Any] = {
        **asdict(s),
        "data": of.data,
        "kind": of.kind,
        "constant_loss": loss,
        "constant_accuracy": accuracy,
        "probe": None,
        "error": None,
    }
    start = time.perf_counter()
    try:
        described["probe"] = json.dumps(probed(s, of).to_dict())
    except Exception as error:
        described["error"] = f"{type(error).__name__}: {error}"
    described["probe_seconds"] = time.perf_counter() - start
    start = time.perf_counter()
    with warnings.catch_warnings(action="ignore"):  # a schedule that is stepped once too often
        rows = trained(s, of)
    described["seconds"] = time.perf_counter() - start
    return described, [{"index": s.index, **row} for row in rows]


def main(
    count: Annotated[int, typer.Option(help="Trials.")] = 600,
    data_root: Annotated[
        Path, typer.Option(help="Folder that holds MNIST/raw and FashionMNIST/raw.")
    ] = Path("../shared/data"),
    workers: Annotated[int, typer.Option(help="Processes.")] = 1,
) -> None:
    """Probe and train what is not in the tables yet."""
    trials: list[Any] = pd.read_parquet(TRIALS).to_dict("records") if TRIALS.exists() else []
    curves: list[Any] = pd.read_parquet(TRAINED).to_dict("records") if TRAINED.exists() else []
    done = {row["index"] for row in trials}
    todo = [(s, data_root) for s in sample(count, data_root) if s.index not in done]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for number, (described, rows) in enumerate(track(pool.map(_both, todo), total=len(todo))):
            trials.append(described)
            curves.extend(rows)
            if number % EVERY == EVERY - 1 or number == len(todo) - 1:
                pd.DataFrame(trials).to_parquet(TRIALS, index=False, compression="zstd")
                pd.DataFrame(curves).to_parquet(TRAINED, index=False, compression="zstd")


if __name__ == "__main__":
    typer.run(main)
