"""Make the first steps of every trial and keep what they and the probe after them show.

    python -m benchmarks.prediction.trials.measure --data-root ../shared/data

Protocol: the trial as `train` trains it, from the same initialization and with the same batches;
one thread; the probe before the steps as well. ``measured_STEPS.parquet`` has a row a trial: the
result without what is of no use here (names, entropies), the profile at its deepest layer and its
mean over layers. Trials that are in it are skipped.
"""

from __future__ import annotations

import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
import typer
from rich.progress import track

import recent_prune as rp
from benchmarks.prediction.trials.networks import build
from benchmarks.prediction.trials.specification import Specification, sample
from benchmarks.prediction.trials.tasks import task
from benchmarks.prediction.trials.train import TRIALS, unpacked

FOLDER = Path(__file__).parent
EVERY = 100
"""Trials between two writes of the table."""


def measured(s: Specification, root: Path, steps: int) -> dict[str, Any]:
    """One row of the table; with ``error`` where the probe failed."""
    of = task(s.task, root)
    training = rp.Training(
        of.loss, s.make_optimizer, steps=steps, budget=max(s.budget, steps), before=True
    )
    try:
        with warnings.catch_warnings(action="ignore"):
            result = rp.probe(build(s, of), s.batches(of), training=training)
    except Exception as error:
        return {"index": s.index, "error": f"{type(error).__name__}: {error}"}
    assert result.steps is not None
    assert result.before is not None
    assert result.gradients is not None
    return {
        "index": s.index,
        "error": None,
        **asdict(result.steps),
        "gradient_rms": result.gradients.gradient_rms,
        "weight_rms": result.gradients.weight_rms,
        "first_ratios": result.gradients.update_ratio,
        "seconds": result.seconds,
        **_profile(result, "after"),
        **_profile(result.before, "before"),
    }


def _profile(result: rp.ProbeResult, when: str) -> dict[str, float | bool]:
    # Nothing is finite where there are none.
    floors = np.array(result.retained_by_floor or [[0.0] * 3])
    named: dict[str, Any] = {
        **{f"retained_{i}": share for i, share in enumerate(floors[-1])},
        **{f"mean_retained_{i}": share for i, share in enumerate(floors.mean(axis=0))},
        "least_retained": min(result.retained),
        "rms": result.activation_rms[-1],
        "response": result.jacobian_norm[-1],
        "variance": result.relative_variance[-1],
        "gram_entropy": result.gram_entropy[-1],
        "relative_entropy": result.relative_entropy[-1],
        "input_rms": result.input_rms,
        "redundancy": result.redundancy,
        "normalized": result.normalized,
        "stochastic": result.stochastic,
        "depth": result.depth,
        "finite": result.nonfinite_layer is None,
    }
    return {f"{name}_{when}": value for name, value in named.items()}


def _measured(task_: tuple[Specification, Path, int]) -> dict[str, Any]:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    return measured(*task_)


def main(
    data_root: Annotated[Path, typer.Option(help="Folder that holds MNIST/raw.")] = Path(
        "../shared/data"
    ),
    steps: Annotated[int, typer.Option(help="First steps.")] = 6,
    most: Annotated[int, typer.Option(help="Only trials below this number.")] = 10_000,
    workers: Annotated[int, typer.Option(help="Processes.")] = 2,
) -> None:
    """Measure what is trained and not in the table yet."""
    root = unpacked(data_root)
    path = FOLDER / f"measured_{steps}.parquet"
    rows: list[Any] = pd.read_parquet(path).to_dict("records") if path.exists() else []
    trained = set(pd.read_parquet(TRIALS)["index"])
    done = {row["index"] for row in rows}
    todo = [
        (s, root, steps)
        for s in sample(max(trained) + 1, root)
        if s.index in trained - done and s.index < most
    ]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        found = pool.map(_measured, todo, chunksize=8)
        for number, row in enumerate(track(found, total=len(todo), description="measuring")):
            rows.append(row)
            if number % EVERY == EVERY - 1 or number == len(todo) - 1:
                table = pd.DataFrame(rows).sort_values("index")
                table.to_parquet(path, index=False, compression="zstd")


if __name__ == "__main__":
    typer.run(main)
