"""Train every configuration of a space in full, probe it once, and keep both.

    python -m benchmarks.compute_saved.train --data-root FOLDER   # two hours on two cores

Protocol: 12,000 training and 2,000 test images, averaged to half their size; batches of 128 (in the
everyday space of 32 or 128), the same order for every configuration. The probe makes the first
steps with the configuration's own optimizer. Kept for each epoch: test accuracy, mean training
loss, seconds and floating point operations so far, and the size of the gradients of its last batch;
and the gradients of the first batch before any update. Seconds are processor time of one thread,
which other processes disturb little; operations are those of matrix products, convolutions and
factorizations, of training only (evaluations, which all methods need, are not counted). A training
whose loss is no longer finite is not continued; its later epochs are written as the last one, at
the same price.

What was measured is kept under ``points/``, so an interrupted run goes on where it stopped. The
tables of a space, ``SPACE_trained.parquet`` and ``SPACE_probed.parquet``, are written once it is
whole.
"""

from __future__ import annotations

import json
import math
import os
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import torch
import typer
from rich.progress import track
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.compute_saved.everyday import Everyday
from benchmarks.compute_saved.spaces import TRAINED, Configuration
from benchmarks.environment import environment
from recent_prune import ProbeResult, Training, probe
from recent_prune.data import Images, default_root, load_image_folder, load_mnist

FOLDER = Path(__file__).parent
TRAIN, TEST = 12_000, 2_000


@cache
def images(data: str, root: Path) -> Images:
    """Half-sized images; CIFAR-10 lies in ``root/cifar10/{train,test}/CLASS``."""
    whole = load_mnist(root) if data == "mnist" else load_image_folder(root / data)
    whole = whole.head(TRAIN, TEST)
    pool = nn.AvgPool2d(2)
    return Images(data, pool(whole.train), whole.train_labels, pool(whole.test), whole.test_labels)


def train(configuration: Configuration | Everyday, data: Images, epochs: int) -> pd.DataFrame:
    """One row an epoch."""
    model = configuration.build(data.train[0])
    optimizer = configuration.make_optimizer(model.parameters())
    size = configuration.batch_size
    weights = [p for p in model.parameters() if p.dim() >= 2]
    per_image = training_flops(model, data.train[:size]) / size
    generator = torch.Generator().manual_seed(0)
    rows: list[dict[str, float]] = []
    seconds = 0.0
    for epoch in range(1, epochs + 1):
        if rows and not math.isfinite(rows[-1]["loss"]):
            known = rows[-1]["seconds"] / len(rows)
            rows.append({**rows[-1], "seconds": known * epoch})
            continue
        before = time.process_time()
        total = torch.zeros(())
        for batch in torch.randperm(len(data.train), generator=generator).split(size):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(data.train[batch]), data.train_labels[batch])
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(batch)
        seconds += time.process_time() - before
        rows.append(
            {
                "loss": float(total) / len(data.train),
                "accuracy": accuracy(model, data),
                "seconds": seconds,
                **_gradients(weights),
            }
        )
    table = pd.DataFrame(rows)
    table.insert(0, "epoch", range(1, epochs + 1))
    table["flops"] = per_image * len(data.train) * table["epoch"]
    return table


def probed(
    configuration: Configuration | Everyday, data: Images, epochs: int
) -> tuple[ProbeResult, float, float]:
    """The default probe's result, its seconds of processor time, and its operations."""
    model, inputs = configuration.build(data.train[0]), (data.train, data.train_labels)
    training = Training(
        nn.functional.cross_entropy,
        configuration.make_optimizer,
        budget=epochs * -(-len(data.train) // configuration.batch_size),
        batch_size=configuration.batch_size,
    )
    with FlopCounterMode(display=False, custom_mapping=FACTORIZATIONS) as counter:
        probe(model, inputs, training=training)
    before = time.process_time()
    result = probe(model, inputs, training=training)
    return result, time.process_time() - before, counter.get_total_flops()


def first_batch(configuration: Configuration | Everyday, data: Images) -> dict[str, float]:
    """Gradients of the first batch, before any update, and what they cost."""
    model = configuration.build(data.train[0])
    weights = [p for p in model.parameters() if p.dim() >= 2]
    batch = data.train[: configuration.batch_size]
    before = time.process_time()
    loss = nn.functional.cross_entropy(model(batch), data.train_labels[: len(batch)])
    loss.backward()
    seconds = time.process_time() - before
    return {
        **_gradients(weights),
        "seconds": seconds,
        "flops": training_flops(model, batch),
    }


def training_flops(model: nn.Module, batch: Tensor) -> float:
    """Operations of a forward and backward pass."""
    with FlopCounterMode(display=False) as counter:
        model(batch).square().mean().backward()
    model.zero_grad(set_to_none=True)
    return float(counter.get_total_flops())


@torch.no_grad()
def accuracy(model: nn.Module, data: Images) -> float:
    """Share of test images whose class is the model's first choice."""
    model.eval()
    right = model(data.test).argmax(dim=1) == data.test_labels
    model.train()
    return float(right.float().mean())


def _cholesky(shape: tuple[int, ...], *_: Any, **__: Any) -> int:
    return math.prod(shape[:-2]) * shape[-1] ** 3 // 3


def _triangular(lower: tuple[int, ...], right: tuple[int, ...], *_: Any, **__: Any) -> int:
    return math.prod(lower[:-2]) * lower[-1] ** 2 * right[-1]


def _eigen(shape: tuple[int, ...], *_: Any, **__: Any) -> int:
    return math.prod(shape[:-2]) * 9 * shape[-1] ** 3


FACTORIZATIONS = {
    torch.ops.aten.linalg_cholesky_ex: _cholesky,
    torch.ops.aten.linalg_solve_triangular: _triangular,
    torch.ops.aten._linalg_eigh: _eigen,
}
"""Operations that PyTorch's counter leaves out, by Golub and Van Loan, Matrix Computations."""


def _gradients(weights: list[nn.Parameter]) -> dict[str, float]:
    sizes = [_rms(weight.grad) for weight in weights]
    return {
        "gradient_first": sizes[0],
        "gradient_last": sizes[-1],
        "gradient_largest": max(sizes, key=lambda size: math.inf if math.isnan(size) else size),
    }


def _rms(gradient: Tensor | None) -> float:
    assert gradient is not None
    return float(gradient.double().square().mean().sqrt())


def measure(task: tuple[str, Configuration | Everyday, Path, Path]) -> None:
    """Train and probe one configuration; its file is complete or not there."""
    space, configuration, root, path = task
    if path.exists() and _kept(path)["configuration"] == configuration.columns():
        return
    torch.set_num_threads(1)
    data, epochs = images(TRAINED[space].data, root), TRAINED[space].epochs
    result, seconds, flops = probed(configuration, data, epochs)
    trained = train(configuration, data, epochs)
    known = {
        "configuration": configuration.columns(),
        "probe": result.to_dict(),
        "probe_seconds": seconds,
        "probe_flops": flops,
        "first_batch": first_batch(configuration, data),
        "trained": trained.to_dict("list"),
    }
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(known), encoding="utf-8")
    os.replace(partial, path)


def probe_again(name: str, root: Path, workers: int) -> None:
    """Probe every configuration of a space anew, beside the trainings that there are."""
    path = FOLDER / f"{name}_probed.parquet"
    known = pd.read_parquet(path)
    sample = {configuration.index: configuration for configuration in TRAINED[name].sample()}
    tasks = [(name, sample[index], root) for index in known["index"]]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        found = list(track(pool.map(_probed_again, tasks), total=len(tasks), description=name))
    for column, values in zip(
        ("probe", "probe_seconds", "probe_flops"), zip(*found, strict=True), strict=True
    ):
        known[column] = values
    known.to_parquet(path, index=False, compression="zstd", compression_level=19)


def _probed_again(task: tuple[str, Configuration | Everyday, Path]) -> tuple[str, float, float]:
    space, configuration, root = task
    torch.set_num_threads(1)
    data = images(TRAINED[space].data, root)
    result, seconds, flops = probed(configuration, data, TRAINED[space].epochs)
    return json.dumps(result.to_dict()), seconds, flops


def assembled(points: list[Path]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The trainings, a row an epoch, and the configurations with their probes, a row each."""
    trained, probes = [], []
    for path in points:
        known = _kept(path)
        index = known["configuration"]["index"]
        table = pd.DataFrame(known["trained"])
        table.insert(0, "index", index)
        trained.append(table)
        probes.append(
            {
                **known["configuration"],
                "probe_seconds": known["probe_seconds"],
                "probe_flops": known["probe_flops"],
                "probe": json.dumps(known["probe"]),
                **{f"first_batch_{k}": value for k, value in known["first_batch"].items()},
            }
        )
    return pd.concat(trained, ignore_index=True), pd.DataFrame(probes)


def _kept(path: Path) -> dict[str, Any]:
    known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return known


def main(
    spaces: Annotated[list[str] | None, typer.Argument(help=f"Of {', '.join(TRAINED)}.")] = None,
    data_root: Annotated[
        Path | None, typer.Option(help="Folder of MNIST/raw and cifar10/train/CLASS/….")
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes, of one thread each.")] = 2,
    only_probe: Annotated[
        bool, typer.Option("--only-probe", help="Probe anew, and keep the trainings.")
    ] = False,
) -> None:
    """Write the tables of all spaces, or of those named."""
    root = data_root or default_root()
    for name in spaces or TRAINED:
        if name not in TRAINED:
            raise typer.BadParameter(f"{name} is none of {', '.join(TRAINED)}")
        if only_probe:
            probe_again(name, root, workers)
            continue
        folder = FOLDER / "points" / name
        folder.mkdir(parents=True, exist_ok=True)
        sample = TRAINED[name].sample()
        paths = [folder / f"{configuration.index}.json" for configuration in sample]
        tasks = [(name, c, root, path) for c, path in zip(sample, paths, strict=True)]
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            for _ in track(pool.map(measure, tasks), total=len(tasks), description=name):
                pass
        trained, probes = assembled(paths)
        for kind, table in (("trained", trained), ("probed", probes)):
            path = FOLDER / f"{name}_{kind}.parquet"
            table.to_parquet(path, index=False, compression="zstd", compression_level=19)
        data = images(TRAINED[name].data, root)
        about = {**environment(), "threads": 1}  # of each process
        about |= {"train_images": len(data.train), "test_images": len(data.test)}
        text = json.dumps(about, indent=2)
        (FOLDER / f"{name}_environment.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
