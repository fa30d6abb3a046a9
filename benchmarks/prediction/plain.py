"""Plain networks, trained by SGD alone: three samples to which nothing is fitted.

    python -m benchmarks.prediction.plain --data-root FOLDER   # draw, train and probe; resumes

The other samples' labels take the best of Adam and SGD, and their images are digits. Here a network
trains if the best of three rates of plain SGD ends above half of the way from chance to the best of
its sample. Nothing is chosen by these tables: a variant of the score is chosen by the samples of
digits, each left out in turn, and looked at here once.

The question, before any of the tables was there: do the shares that are retained at each noise
floor, one by one instead of their mean, rank better which of these networks train?

Protocol: 4,000 images and 1,000 to test; width 64, depth 4 to 40 and σ_w² 0.3 to 5 (log-uniform),
σ_b² 0.05 (tanh) or 0 (ReLU); batches of 64, 400 steps, no momentum; rates 0.1, 0.3 and 0.01, one
after the other until one ends where there is no doubt. The probe sees the images that are trained
on. Writes ``plain_SAMPLE.csv``, a row a network.
"""

from __future__ import annotations

import math
import random
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import torch
import typer
from rich.progress import track
from torch import nn

import recent_prune as rp
from benchmarks.prediction.networks import Specification
from benchmarks.prediction.train import BATCH_SIZE, FOLDER, accuracy
from recent_prune.data import Images, load_image_folder, load_mnist
from recent_prune.rules.profile_numbers import profile_numbers

SAMPLES = ("tanh_mnist", "relu_mnist", "tanh_cifar10")
COUNT = 120
STEPS = 400
RATES = (0.1, 0.3, 0.01)
ENOUGH = {"mnist": 0.6, "cifar10": 0.3}
"""Accuracy beyond doubt, about two thirds of the way to the best."""


def specification(sample: str, index: int) -> Specification:
    """The network of this place in a sample."""
    draw = random.Random(1000 * SAMPLES.index(sample) + index)
    activation = sample.partition("_")[0]
    return Specification(
        70_000 + index,
        f"plain {activation}",
        "mlp",
        activation,
        round(math.exp(draw.uniform(math.log(4), math.log(40)))),
        64,
        math.exp(draw.uniform(math.log(0.3), math.log(5))),
        0.05 if activation == "tanh" else 0.0,
    )


@cache
def images(sample: str, root: Path) -> Images:
    """What a sample is trained on."""
    if sample.endswith("mnist"):
        mnist = load_mnist(root).head(4000, 1000)
        pool = nn.AvgPool2d(2)
        return Images(
            "mnist", pool(mnist.train), mnist.train_labels, pool(mnist.test), mnist.test_labels
        )
    return load_image_folder(root / "cifar10", grey=True).head(4000, 1000)


def trained(network: Specification, data: Images, rate: float) -> float:
    """Test accuracy in the end."""
    model = network.build(data.train[0])
    optimizer = torch.optim.SGD(model.parameters(), rate)
    generator = torch.Generator().manual_seed(network.index)
    order = torch.empty(0, dtype=torch.int64)
    for _ in range(STEPS):
        if len(order) < BATCH_SIZE:
            order = torch.randperm(len(data.train), generator=generator)
        batch, order = order[:BATCH_SIZE], order[BATCH_SIZE:]
        loss = nn.functional.cross_entropy(model(data.train[batch]), data.train_labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return accuracy(model, data)


def row(task: tuple[str, int, Path]) -> dict[str, object]:
    """One network: what its probe says, and what became of it."""
    sample, index, root = task
    torch.set_num_threads(1)
    network, data = specification(sample, index), images(sample, root)
    result = rp.probe(network.build(data.train[0]), data.train)
    floors = zip(*result.retained_by_floor, strict=True)
    numbers = {f"floor_{place}": shares[-1] for place, shares in enumerate(floors)}
    floors = zip(*result.retained_by_floor, strict=True)
    means = {f"mean_floor_{i}": math.fsum(of) / result.depth for i, of in enumerate(floors)}
    ends: dict[str, float] = {}
    for rate in RATES:
        if max(ends.values(), default=0.0) < ENOUGH[sample.partition("_")[2]]:
            ends[f"sgd {rate:g}"] = trained(network, data, rate)
    return {
        "index": index,
        "depth": network.depth,
        "weight_variance": network.weight_variance,
        **profile_numbers(result),
        **numbers,
        **means,
        **ends,
        "accuracy": max(ends.values()),
    }


def main(
    data_root: Annotated[Path, typer.Option(help="Folder that holds MNIST/raw and cifar10.")],
    count: Annotated[int, typer.Option(help="Networks of each sample.")] = COUNT,
    workers: Annotated[int, typer.Option(help="Processes.")] = 2,
) -> None:
    """Draw, probe and train what is not in the tables yet."""
    for sample in SAMPLES:
        path = FOLDER / f"plain_{sample}.csv"
        rows: list[Any] = pd.read_csv(path).to_dict("records") if path.exists() else []
        done = {found["index"] for found in rows}
        tasks = [(sample, index, data_root) for index in range(count) if index not in done]
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            for found in track(pool.map(row, tasks), total=len(tasks), description=sample):
                rows.append(found)
                pd.DataFrame(rows).to_csv(path, index=False, float_format="%.5g")


if __name__ == "__main__":
    typer.run(main)
