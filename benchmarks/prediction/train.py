"""Train every network of the sample and keep what came of it.

    python -m benchmarks.prediction.train --data digits

Protocol: each network is trained from the same initialization with each of three optimizer
settings, batches of 64, for the same number of steps; ``accuracy`` is the best final test
accuracy of the three, so that the label speaks of the initialization, and ``first_epoch`` the
best accuracy after the first pass over the training set. Networks already in the table are
skipped, so an interrupted run goes on where it stopped.
"""

from __future__ import annotations

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

from benchmarks.prediction.networks import Specification, sample
from recent_prune.data import Images, load_digits, load_mnist

FOLDER = Path(__file__).parent
STEPS = 600
BATCH_SIZE = 64
OPTIMIZERS = {"adam 1e-3": 1e-3, "adam 1e-4": 1e-4, "sgd 1e-2": 1e-2}


def images(data: str, root: Path | None) -> Images:
    """The digits, or 4,000 + 1,000 images of MNIST pooled to 14 × 14."""
    if data == "digits":
        return load_digits()
    mnist = load_mnist(root).head(4000, 1000)
    pool = nn.AvgPool2d(2)
    return Images(
        "mnist", pool(mnist.train), mnist.train_labels, pool(mnist.test), mnist.test_labels
    )


def train(specification: Specification, data: Images, setting: str) -> tuple[float, float]:
    """Test accuracy after the first epoch and at the end."""
    model = specification.build(data.train[0].numel())
    rate = OPTIMIZERS[setting]
    optimizer: torch.optim.Optimizer = (
        torch.optim.Adam(model.parameters(), lr=rate)
        if setting.startswith("adam")
        else torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    )
    generator = torch.Generator().manual_seed(specification.index)
    first = 0.0
    epoch = len(data.train) // BATCH_SIZE
    order = torch.randperm(len(data.train), generator=generator)
    for step in range(STEPS):
        at = step % epoch
        if at == 0:
            order = torch.randperm(len(data.train), generator=generator)
        batch = order[at * BATCH_SIZE : (at + 1) * BATCH_SIZE]
        loss = nn.functional.cross_entropy(model(data.train[batch]), data.train_labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step + 1 == epoch:
            first = accuracy(model, data)
    return first, accuracy(model, data)


@torch.no_grad()
def accuracy(model: nn.Module, data: Images) -> float:
    """Share of test images whose class is the model's first choice."""
    return float((model(data.test).argmax(dim=1) == data.test_labels).float().mean())


def label(task: tuple[Specification, str, Path | None]) -> dict[str, Any]:
    """One row of the table."""
    specification, name, root = task
    torch.set_num_threads(1)
    data = images(name, root)
    results = [train(specification, data, setting) for setting in OPTIMIZERS]
    return {
        **asdict(specification),
        "first_epoch": max(first for first, _ in results),
        "accuracy": max(final for _, final in results),
    }


def main(
    data: Annotated[str, typer.Option(help="digits or mnist")] = "digits",
    data_root: Annotated[Path | None, typer.Option(help="Folder that holds MNIST/raw.")] = None,
    networks: Annotated[int, typer.Option(help="How many networks.")] = 300,
    workers: Annotated[int, typer.Option(help="Processes.")] = 2,
) -> None:
    """Train the sample; the table is written after every network."""
    path = FOLDER / f"trained_{data}.csv"
    rows: list[Any] = pd.read_csv(path).to_dict("records") if path.exists() else []
    done = {row["index"] for row in rows}
    tasks = [(s, data, data_root) for s in sample(networks) if s.index not in done]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for row in track(pool.map(label, tasks), total=len(tasks), description="training"):
            rows.append(row)
            pd.DataFrame(rows).sort_values("index").round(6).to_csv(path, index=False)


if __name__ == "__main__":
    typer.run(main)
