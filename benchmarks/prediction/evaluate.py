"""Probe every trained network of the sample and compare with what came of it.

    python -m benchmarks.prediction.evaluate --data digits

Protocol: each network is built again at its initialization and probed with each estimator on the
training images. A network *trains* if its accuracy exceeds 0.5, and is *good* if it comes within
0.1 of the best of the sample. The score of a probe is the retained share at the deepest layer; a
network whose activations exceed the bound of `RetainedInformationRule`, or are not finite, ranks
below all others. Intervals: 95 %, bootstrap over networks (percentile, 2,000 draws).
Writes ``results_DATA.md`` with the environment.
"""

from __future__ import annotations

import platform
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
import typer
from rich.progress import track
from scipy.stats import bootstrap
from sklearn.metrics import roc_auc_score

import recent_prune as rp
from benchmarks.prediction.networks import ACTIVATIONS, Specification
from benchmarks.prediction.train import FOLDER, STEPS, images

ESTIMATORS: dict[str, rp.Ridge | rp.Cascade] = {
    "ridge (default)": rp.Ridge(),
    "ridge, 256 samples": rp.Ridge(samples=256),
    "ridge, 768 samples": rp.Ridge(samples=768),
    "ridge, one floor 1e-2": rp.Ridge(noise_floors=(1e-2,)),
    "ridge, one floor 1e-6": rp.Ridge(noise_floors=(1e-6,)),
    "ridge, 7 floors 1 to 1e-12": rp.Ridge(noise_floors=tuple(10.0**-k for k in range(0, 13, 2))),
    "cascade, 200 updates": rp.Cascade(updates=200),
}
RULES: dict[str, rp.RetainedInformationRule | rp.SaturationRule] = {
    **{
        f"RetainedInformationRule({bound:g})": rp.RetainedInformationRule(bound)
        for bound in (0.0005, 0.002, 0.005, 0.01, 0.02)
    },
    "SaturationRule()": rp.SaturationRule(),
}
DEFAULT = "ridge (default)"
MAX_RMS = rp.RetainedInformationRule().max_activation_rms

Column = npt.NDArray[np.float64]


def probe(task: tuple[dict[str, Any], str, Path | None]) -> list[dict[str, Any]]:
    """One row an estimator for one network."""
    row, name, root = task
    torch.set_num_threads(1)
    inputs = images(name, root).train
    specification = Specification(**{f.name: row[f.name] for f in fields(Specification)})
    model = specification.build(inputs[0].numel())
    rows = []
    for estimator, settings in ESTIMATORS.items():
        result = rp.probe(model, inputs, estimator=settings)
        exploded = result.nonfinite_layer is not None or result.activation_rms[-1] > MAX_RMS
        rows.append(
            {
                "index": row["index"],
                "estimator": estimator,
                # Exploded networks rank below all others, the worst last.
                "score": -result.activation_rms[-1] if exploded else result.retained[-1],
                "seconds": result.seconds,
                **{rule: not judge(result).trainable for rule, judge in RULES.items()},
            }
        )
    return rows


def auroc(trains: npt.NDArray[np.bool_], score: Column) -> str:
    """AUROC with its interval."""
    score = np.clip(np.nan_to_num(score, nan=-1e38), -1e38, 1e38)
    interval = bootstrap(
        (trains, score),
        roc_auc_score,
        paired=True,
        vectorized=False,
        n_resamples=2000,
        method="percentile",
        rng=0,
    ).confidence_interval
    return f"{roc_auc_score(trains, score):.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def prediction_table(trained: pd.DataFrame, probed: pd.DataFrame) -> pd.DataFrame:
    """AUROC for "trains" of every predictor, overall and by activation function."""
    trained = trained.set_index("index")
    scores = {
        name: group.set_index("index")["score"] for name, group in probed.groupby("estimator")
    }
    scores = {name: scores[name] for name in ESTIMATORS}
    scores["free: minus the depth"] = -trained["depth"]
    scores["accuracy after the first epoch of real training"] = trained["first_epoch"]
    seconds = probed.groupby("estimator")["seconds"].median()
    rows = []
    for name, score in scores.items():
        row = {"predictor": name, "median seconds": f"{seconds.get(name, np.nan):.3f}"}
        for part in ("all", *ACTIVATIONS):
            chosen = trained if part == "all" else trained[trained["activation"] == part]
            trains = (chosen["accuracy"] > 0.5).to_numpy()
            row[part] = auroc(trains, score[chosen.index].to_numpy(float))
        rows.append(row)
    return pd.DataFrame(rows)


def rules_table(trained: pd.DataFrame, probed: pd.DataFrame) -> pd.DataFrame:
    """What each rule, on the default estimator, would have pruned."""
    accuracy = trained.set_index("index")["accuracy"]
    trains, good = accuracy > 0.5, accuracy > accuracy.max() - 0.1
    verdicts = probed[probed["estimator"] == DEFAULT].set_index("index")
    rows = []
    for rule in RULES:
        condemned = verdicts[rule].astype(bool)
        rows.append(
            {
                "rule": rule,
                "untrainable caught": f"{(condemned & ~trains).sum()} of {(~trains).sum()}",
                "good lost": f"{(condemned & good).sum()} of {good.sum()}",
                "trainable lost": f"{(condemned & trains).sum()} of {trains.sum()}",
            }
        )
    return pd.DataFrame(rows)


def main(
    data: Annotated[str, typer.Option(help="digits or mnist")] = "digits",
    data_root: Annotated[Path | None, typer.Option(help="Folder that holds MNIST/raw.")] = None,
    workers: Annotated[int, typer.Option(help="Processes.")] = 2,
) -> None:
    """Probe all networks of ``trained_DATA.csv`` and write ``results_DATA.md``."""
    trained = pd.read_csv(FOLDER / f"trained_{data}.csv")
    tasks = [(row, data, data_root) for row in trained.to_dict("records")]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        found = track(pool.map(probe, tasks), total=len(tasks), description="probing")
        probed = pd.DataFrame([row for rows in found for row in rows])
    trains = int((trained["accuracy"] > 0.5).sum())
    text = "\n\n".join(
        [
            f"# Prediction on {data}",
            f"{len(trained)} plain MLPs, {trains} of which train (best of three optimizer "
            f'settings, {STEPS} steps each). AUROC for "trains", 95 % bootstrap interval.',
            _markdown(prediction_table(trained, probed)),
            "What each rule prunes, with the default estimator (good: within 0.1 of the best "
            "accuracy of the sample):",
            _markdown(rules_table(trained, probed)),
            f"Environment: Python {platform.python_version()}, torch {torch.__version__}, "
            f"{platform.machine()}, one thread a process.",
        ]
    )
    (FOLDER / f"results_{data}.md").write_text(text + "\n", encoding="utf-8")
    print(text)


def _markdown(table: pd.DataFrame) -> str:
    lines = [list(table.columns), ["---"] * len(table.columns), *table.astype(str).to_numpy()]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


if __name__ == "__main__":
    typer.run(main)
