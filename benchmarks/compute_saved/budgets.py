"""Does rung zero save as much where trainings are ten times as long?

    python -m benchmarks.compute_saved.budgets   # some minutes

The question, before it was looked at: in the first hundred configurations of the *everyday* space,
is the share of random search's cost that ``keep=1/8`` leaves no higher where each is trained for 40
epochs than where it is trained for 4? And how well does the score rank what comes out after 1, 2,
4, 8, 16 and 40 epochs, where it is told that budget?

Protocol: `rung_zero`'s replay, 100 seeds, each table with its own target (random search's mean best
of 12 trainings); the same configurations, initializations and first steps, the rule knows the
budget. Of a hundred candidates an eighth is trained, so that more runs miss the target than in the
whole space. Writes ``budgets.csv`` (a row a run) and ``budgets.md``.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from rich.progress import track
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from benchmarks.compute_saved.rung_zero import ratio, replayed, target
from benchmarks.compute_saved.spaces import LONGER
from benchmarks.compute_saved.table import Array, Trained, load
from benchmarks.environment import told
from benchmarks.tables import markdown
from recent_prune import TrainabilityRule

FOLDER = Path(__file__).parent
LONG = "everyday_longer"
COUNT = LONGER[LONG].count
METHODS = (
    "random",
    "condemn only (keep 1)",
    "keep 1/4",
    "keep 1/8",
    "loss after the steps, 1/8",
    "oracle, 1/8",
    "SuccessiveHalving",
    "keep 1/8 + SuccessiveHalving",
)
LOOKED_AT = (1, 2, 4, 8, 16, 40)
"""Epochs after which the ranking is compared with what came out."""
CHANCE = 0.1


@cache
def tables() -> dict[str, Trained]:
    """The same configurations, trained for as many epochs as the names say."""
    short = load("everyday")
    chosen = np.arange(len(short)) < COUNT
    return {"4 epochs": short.subset(chosen, "everyday-first"), "40 epochs": load(LONG)}


@cache
def _aim(name: str, seeds: int) -> float:
    return target(tables()[name], seeds)


def run(job: tuple[str, str, int, int]) -> dict[str, object]:
    """One run of a method on one of the tables."""
    name, method, seed, seeds = job
    return {"trained for": name, **replayed(tables()[name], method, seed, _aim(name, seeds))}


def ranked(trained: Trained, epochs: int) -> Array:
    """What the score says of each configuration, if it is to be trained for so many epochs."""
    found = []
    for result in trained.probes:
        steps = result.steps
        assert steps is not None
        assert steps.budget is not None
        budget = steps.budget * epochs // trained.epochs
        found.append(TrainabilityRule.score(replace(result, steps=replace(steps, budget=budget))))
    scores: Array = np.maximum(np.asarray(found, dtype=float), -1e9)
    return scores


def quality(trained: Trained) -> pd.DataFrame:
    """How well the score ranks, by the epochs that are trained."""
    loss = np.asarray([-r.steps.loss_after if r.steps else np.nan for r in trained.probes])
    loss = np.where(np.isfinite(loss), loss, -1e9)
    rows = []
    for epochs in LOOKED_AT:
        end, score = trained.accuracy[:, epochs - 1], ranked(trained, epochs)
        fails = end < CHANCE + (end.max() - CHANCE) / 2
        best = np.argsort(-score)[: len(score) // 8]
        rows.append(
            {
                "epochs": epochs,
                "fail": f"{fails.mean():.0%}",
                "AUROC": f"{roc_auc_score(fails, -score):.3f}",
                "Spearman": f"{spearmanr(score, end).statistic:.3f}",
                "of the loss": f"{spearmanr(loss, end).statistic:.3f}",
                "best eighth": f"{end[best].mean():.3f}",
                "best of all": f"{end.max():.3f}",
            }
        )
    return pd.DataFrame(rows)


def shares(runs: pd.DataFrame) -> pd.DataFrame:
    """Cost over random search's, a row a method."""
    rows = []
    for method in METHODS[1:]:
        row: dict[str, object] = {"method": method}
        for name, part in runs.groupby("trained for", sort=False):
            middle, low, high = ratio(part, method)
            own = part[part["method"] == method]
            missed = int((~own["reached"].astype(bool)).sum())
            row[str(name)] = f"{middle:.2f} [{low:.2f}, {high:.2f}]" + (
                f", {missed} missed" if missed else ""
            )
        rows.append(row)
    return pd.DataFrame(rows)


def main(
    seeds: Annotated[int, typer.Option(help="Runs of each method.")] = 100,
    workers: Annotated[int, typer.Option(help="Processes.")] = 2,
) -> None:
    """Replay, compare and write down."""
    jobs = [(name, m, seed, seeds) for name in tables() for m in METHODS for seed in range(seeds)]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        runs = pd.DataFrame(list(track(pool.map(run, jobs, chunksize=10), total=len(jobs))))
    runs.to_csv(FOLDER / "budgets.csv", index=False, float_format="%.5g")
    text = "\n\n".join(
        [
            "# Ten times the budget",
            f"{COUNT} configurations of *everyday*, {seeds} seeds; cost to random search's mean "
            f"best of 12 trainings over that of random search. {told()}.",
            markdown(shares(runs)),
            "How well the score ranks what comes out, by the epochs that are trained:",
            markdown(quality(tables()["40 epochs"])),
            "",
        ]
    )
    (FOLDER / "budgets.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    typer.run(main)
