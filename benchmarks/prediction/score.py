"""Score every trained network of a sample with every predictor that looks at its initialization.

    python -m benchmarks.prediction.score --sample test --data digits

Each network is built again at its initialization; the probes see the training images. Writes
``scores_SAMPLE_DATA.csv``, one row a network, from which `evaluate` makes the tables; networks
already in it are skipped. Estimators are compared by `retained_score`; of the default one the
numbers are kept that `TrainabilityRule` looks at, so that `fit` and `evaluate` need no probe. The
cascade takes stacks of layers and blocks, and has no score for networks that it refuses.
"""

from __future__ import annotations

import math
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import torch
import typer
from rich.progress import track

import recent_prune as rp
from benchmarks.prediction import free
from benchmarks.prediction.networks import Specification
from benchmarks.prediction.retained_information import RetainedInformationRule
from benchmarks.prediction.train import FOLDER, images
from recent_prune.rules.profile_numbers import profile_numbers

RETAINED = "probe, retained share alone"
ESTIMATORS: dict[str, rp.Ridge | rp.Cascade] = {
    RETAINED: rp.Ridge(),
    "probe, 96 samples": rp.Ridge(samples=96),
    "probe, 384 samples": rp.Ridge(samples=384),
    "probe, floors 1e-2, 1e-6, 1e-10": rp.Ridge(noise_floors=(1e-2, 1e-6, 1e-10)),
    "probe, one floor 1e-2": rp.Ridge(noise_floors=(1e-2,)),
    "probe, relative floor 1e-3": rp.Ridge(relative_floor=1e-3),
    "cascade, one epoch": rp.Cascade(),
    "cascade, 200 updates": rp.Cascade(updates=200),
}
NUMBERS = ("retained", "mean_retained", "size", "response", "variance")
"""Columns that hold `profile_numbers` of the default probe."""
RULES: dict[str, RetainedInformationRule | rp.SaturationRule] = {
    **{
        f"RetainedInformationRule({bound:g})": RetainedInformationRule(bound)
        for bound in (0.002, 0.005, 0.01, 0.02)
    },
    "SaturationRule()": rp.SaturationRule(),
}


def retained_score(result: rp.ProbeResult) -> float:
    """The retained share at the deepest layer.

    Activations that exceed the bound of `RetainedInformationRule` rank below all others, the larger
    the lower, and those that are not finite last.
    """
    if result.nonfinite_layer is not None:
        return -1e38
    rms, bound = result.activation_rms[-1], RetainedInformationRule().max_activation_rms
    return -rms if rms > bound * max(result.input_rms, 1.0) else result.retained[-1]


def score(task: tuple[dict[str, Any], str, Path | None, bool]) -> dict[str, Any]:
    """One row."""
    row, name, root, cascades = task
    torch.set_num_threads(1)
    data = images(name, root)
    specification = Specification(**{f.name: row[f.name] for f in fields(Specification)})
    model = specification.build(data.train[0])
    found: dict[str, Any] = {"index": row["index"]}
    for estimator, settings in ESTIMATORS.items():
        if isinstance(settings, rp.Cascade) and not cascades:
            continue
        try:
            result = rp.probe(model, data.train, estimator=settings)
        except ValueError:
            continue
        found[estimator] = retained_score(result)
        found[f"{estimator}, seconds"] = result.seconds
        if estimator == RETAINED:
            found |= {
                name: value if math.isfinite(value) else math.inf
                for name, value in profile_numbers(result).items()
            }
            found |= {rule: not judge(result).trainable for rule, judge in RULES.items()}
    found["mean field"] = free.mean_field(specification, float(data.train.square().mean()))
    batch, labels = data.train[:160], data.train_labels[:160]
    found |= free.from_one_pass(specification.build(data.train[0]), batch, labels)
    found["NTK condition number"] = free.tangent_kernel(model, data.train[:32])
    found["minus the number of parameters"] = -sum(p.numel() for p in model.parameters())
    found["minus the depth"] = -specification.depth
    return found


def main(
    sample: Annotated[str, typer.Option(help="A key of networks.SAMPLES.")] = "test",
    data: Annotated[str, typer.Option(help="digits or mnist")] = "digits",
    data_root: Annotated[Path | None, typer.Option(help="Folder that holds MNIST/raw.")] = None,
    cascades: Annotated[bool, typer.Option(help="Score with the cascades (slow).")] = True,
    workers: Annotated[int, typer.Option(help="Processes.")] = 2,
) -> None:
    """Score all networks of ``trained_SAMPLE_DATA.csv``."""
    path = FOLDER / f"scores_{sample}_{data}.csv"
    trained = pd.read_csv(FOLDER / f"trained_{sample}_{data}.csv")
    rows: list[Any] = pd.read_csv(path).to_dict("records") if path.exists() else []
    done = {row["index"] for row in rows}
    tasks = [
        (row, data, data_root, cascades)
        for row in trained.to_dict("records")
        if row["index"] not in done
    ]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for row in track(pool.map(score, tasks), total=len(tasks), description="scoring"):
            rows.append(row)
            table = pd.DataFrame(rows).sort_values("index")
            table.to_csv(path, index=False, float_format="%.5g")


if __name__ == "__main__":
    typer.run(main)
