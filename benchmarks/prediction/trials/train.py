"""Train every trial for its whole budget and keep its learning curve.

    python -m benchmarks.prediction.trials.train --count 3600 --data-root ../shared/data

Protocol: from one initialization, with the trial's own optimizer, rate and batch size, no
schedule, one thread; test loss and accuracy (of values: the share of their variance that is
explained) after a geometric row of steps (`checkpoints`) and at the end, in evaluation mode, and
the mean training loss since the last of them. A loss that is not finite ends the trial, which
counts as failed. Subnormal numbers are flushed to zero, for speed. ``trained.parquet`` has a row a
checkpoint, ``trials.parquet`` one a trial; both are written every few dozen trials, and trials that
are in them are skipped, so that an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import math
import tarfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import torch
import typer
from rich.progress import Progress

from benchmarks.prediction.trials.networks import build
from benchmarks.prediction.trials.specification import Specification, sample
from benchmarks.prediction.trials.tasks import Task, task
from recent_prune.data import default_root

FOLDER = Path(__file__).parent
TRAINED = FOLDER / "trained.parquet"
TRIALS = FOLDER / "trials.parquet"
EVERY = 40
"""Trials between two writes of the tables."""


def checkpoints(budget: int) -> list[int]:
    """Steps after which a trial is tested: 1, 2, 4, … and its last."""
    return [*(2**i for i in range(11) if 2**i < budget), budget]


@torch.no_grad()
def tested(model: torch.nn.Module, of: Task) -> tuple[float, float]:
    """Loss and accuracy on the test samples, in evaluation mode."""
    model.eval()
    output = torch.cat([model(part) for part in of.test[0].split(250)])
    model.train()
    return float(of.loss(output, of.test[1])), of.accuracy(output, of.test[1])


def train(s: Specification, of: Task) -> list[dict[str, float]]:
    """A row a checkpoint."""
    model = build(s, of)
    optimizer = s.make_optimizer(model.parameters())
    torch.manual_seed(s.index)  # of dropout
    rows, losses, wanted = [], [], set(checkpoints(s.budget))
    for step, (x, y) in enumerate(s.batches(of), start=1):
        loss = of.loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        if not math.isfinite(losses[-1]):
            rows.append(
                {"step": step, "train_loss": math.nan, "loss": math.nan, "accuracy": math.nan}
            )
            break
        if step in wanted:
            loss_there, accuracy = tested(model, of)
            mean = sum(losses) / len(losses)
            rows.append(
                {"step": step, "train_loss": mean, "loss": loss_there, "accuracy": accuracy}
            )
            losses = []
        if step == s.budget:
            break
    return rows


def _trained(s: Specification, root: Path) -> tuple[dict[str, Any], list[dict[str, float]]]:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    of = task(s.task, root)
    start = time.perf_counter()
    rows = train(s, of)
    seconds = time.perf_counter() - start
    constant_loss, constant_accuracy = of.constant
    described = {
        **asdict(s),
        "data": of.data,
        "kind": of.kind,
        "constant_loss": constant_loss,
        "constant_accuracy": constant_accuracy,
        "seconds": seconds,
    }
    return described, [{"index": s.index, **row} for row in rows]


def unpacked(root: Path) -> Path:
    """A folder with all data sets: ``root``, with the archive of CIFAR-10 unpacked into a cache."""
    archive = root / "cifar10-imagefolder.tar"
    if not archive.exists():
        return root
    cache = default_root() / "prediction"
    cache.mkdir(parents=True, exist_ok=True)
    if not (cache / "MNIST").exists():
        (cache / "MNIST").symlink_to((root / "MNIST").resolve())
    if not (cache / "cifar10").exists():
        with tarfile.open(archive) as tar:
            top = tar.getnames()[0].split("/")[0]
            tar.extractall(cache, filter="data")
        (cache / top).rename(cache / "cifar10")
    return cache


def main(
    count: Annotated[int, typer.Option(help="Trials.")] = 3600,
    data_root: Annotated[Path, typer.Option(help="Folder that holds MNIST/raw.")] = Path(
        "../shared/data"
    ),
    workers: Annotated[int, typer.Option(help="Processes.")] = 2,
) -> None:
    """Train what is not in the tables yet."""
    root = unpacked(data_root)
    trials: list[Any] = pd.read_parquet(TRIALS).to_dict("records") if TRIALS.exists() else []
    curves: list[Any] = pd.read_parquet(TRAINED).to_dict("records") if TRAINED.exists() else []
    done = {row["index"] for row in trials}
    todo = [s for s in sample(count, root) if s.index not in done]
    with (
        Progress() as progress,
        ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool,
    ):
        bar = progress.add_task("training", total=len(todo))
        for number, future in enumerate(
            as_completed([pool.submit(_trained, s, root) for s in todo])
        ):
            described, rows = future.result()
            trials.append(described)
            curves.extend(rows)
            progress.advance(bar)
            if number % EVERY == EVERY - 1 or number == len(todo) - 1:
                _write(trials, curves)


def _write(trials: list[Any], curves: list[Any]) -> None:
    for path, rows, keys in ((TRAINED, curves, ["index", "step"]), (TRIALS, trials, ["index"])):
        table = pd.DataFrame(rows).sort_values(keys)
        partial = path.with_suffix(".partial")
        table.to_parquet(partial, index=False, compression="zstd")
        partial.rename(path)


if __name__ == "__main__":
    typer.run(main)
