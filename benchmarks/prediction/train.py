"""Train every network of a sample and keep what came of it.

    python -m benchmarks.prediction.train --sample test --data digits

Protocol: each network is trained from the same initialization with each optimizer setting,
batches of 64, for the same number of steps. ``accuracy`` is the best final test accuracy, so that
the label speaks of the initialization. ``first_epoch`` and ``step_1``, ``step_10``, ``step_50``
are the best accuracies on the way, what a pruner that trains for a while would see. Once a setting
has reached 0.9, the others are trained for these first steps only. Networks already in the table
are skipped, so an interrupted run goes on where it stopped.

With ``--sgd`` the settings are three rates of plain SGD, without momentum, and the table is
``trained_sgd_SAMPLE_DATA.csv``: networks whose activations shrink on the way are trained by Adam
all the same, and by SGD not. What none of the other settings trains is not trained again.

The tuning sample was trained with the first three settings, all of them to the end, and without
``step_…``.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import torch
import typer
from rich.progress import track
from torch import nn

from benchmarks.prediction.networks import SAMPLES, Specification
from recent_prune.data import Images, load_digits, load_mnist

FOLDER = Path(__file__).parent
STEPS = 600
EARLY_STEPS = (1, 10, 50)
BATCH_SIZE = 64
ENOUGH = 0.9
TRAINS = 0.5
"""Accuracy from which on a network counts as one that trains."""
OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "adam 1e-3": lambda parameters: torch.optim.Adam(parameters, 1e-3),
    "sgd 1e-2": lambda parameters: torch.optim.SGD(parameters, 1e-2, momentum=0.9),
    "adam 1e-4": lambda parameters: torch.optim.Adam(parameters, 1e-4),
    "sgd 1e-1": lambda parameters: torch.optim.SGD(parameters, 1e-1, momentum=0.9),
}

PLAIN_SGD: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "plain sgd 1e-1": lambda parameters: torch.optim.SGD(parameters, 1e-1),
    "plain sgd 3e-1": lambda parameters: torch.optim.SGD(parameters, 3e-1),
    "plain sgd 1e-2": lambda parameters: torch.optim.SGD(parameters, 1e-2),
}


def images(data: str, root: Path | None) -> Images:
    """The digits, or 4,000 + 1,000 images of MNIST pooled to 14 × 14."""
    if data == "digits":
        return load_digits()
    mnist = load_mnist(root).head(4000, 1000)
    pool = nn.AvgPool2d(2)
    return Images(
        "mnist", pool(mnist.train), mnist.train_labels, pool(mnist.test), mnist.test_labels
    )


def train(
    specification: Specification, data: Images, setting: str, steps: int = STEPS
) -> dict[str, float]:
    """Test accuracies on the way and, under ``accuracy``, at the end."""
    model = specification.build(data.train[0])
    optimizer = (OPTIMIZERS | PLAIN_SGD)[setting](model.parameters())
    generator = torch.Generator().manual_seed(specification.index)
    epoch = len(data.train) // BATCH_SIZE
    names = {step: f"step_{step}" for step in EARLY_STEPS} | {epoch: "first_epoch"}
    found = {}
    order = torch.randperm(len(data.train), generator=generator)
    for step in range(steps):
        at = step % epoch
        if at == 0:
            order = torch.randperm(len(data.train), generator=generator)
        batch = order[at * BATCH_SIZE : (at + 1) * BATCH_SIZE]
        loss = nn.functional.cross_entropy(model(data.train[batch]), data.train_labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step + 1 in names:
            found[names[step + 1]] = accuracy(model, data)
    return found | {"accuracy": accuracy(model, data)}


@torch.no_grad()
def accuracy(model: nn.Module, data: Images) -> float:
    """Share of test images whose class is the model's first choice."""
    model.eval()
    share = float((model(data.test).argmax(dim=1) == data.test_labels).float().mean())
    model.train()
    return share


def label(task: tuple[Specification, str, Path | None, tuple[str, ...]]) -> dict[str, Any]:
    """One row of the table."""
    specification, name, root, settings = task
    torch.set_num_threads(1)
    data = images(name, root)
    early = max(*EARLY_STEPS, len(data.train) // BATCH_SIZE)
    best: dict[str, float] = {}
    for setting in settings:
        steps = STEPS if best.get("accuracy", 0) < ENOUGH else early
        for key, value in train(specification, data, setting, steps).items():
            best[key] = max(value, best.get(key, 0))
    return {**asdict(specification), **best}


def main(
    sample: Annotated[str, typer.Option(help="A key of networks.SAMPLES.")] = "test",
    data: Annotated[str, typer.Option(help="digits or mnist")] = "digits",
    data_root: Annotated[Path | None, typer.Option(help="Folder that holds MNIST/raw.")] = None,
    workers: Annotated[int, typer.Option(help="Processes.")] = 2,
    sgd: Annotated[bool, typer.Option("--sgd", help="By plain SGD alone.")] = False,
) -> None:
    """Train the sample; the table is written after every network."""
    path = FOLDER / f"trained_{'sgd_' if sgd else ''}{sample}_{data}.csv"
    settings = tuple(PLAIN_SGD if sgd else OPTIMIZERS)
    rows: list[Any] = pd.read_csv(path).to_dict("records") if path.exists() else []
    done = {row["index"] for row in rows}
    if sgd:
        known = pd.read_csv(FOLDER / f"trained_{sample}_{data}.csv")
        done |= set(known.loc[known["accuracy"] <= TRAINS, "index"])
    tasks = [(s, data, data_root, settings) for s in SAMPLES[sample]() if s.index not in done]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for row in track(pool.map(label, tasks), total=len(tasks), description="training"):
            rows.append(row)
            pd.DataFrame(rows).sort_values("index").round(6).to_csv(path, index=False)


if __name__ == "__main__":
    typer.run(main)
