"""What rung zero saves: candidates are ranked by their first steps, the best share is trained.

    python -m benchmarks.compute_saved.rung_zero   # ten minutes on two cores
    python -m benchmarks.compute_saved.rung_zero --only "keep 1/8"   # the other rows stay

Protocol: the tables of this folder, replayed through the real Optuna (studies, samplers, pruners,
`probe_trial`, our pruner with ``keep``), each method with the same seeds. What is compared is the
cost, in operations, candidates and their probes included, until a trial ends as good as random
search's mean best of 12 trainings; a run that never does counts with all that it cost. The
score's forest was fitted to ``benchmarks/prediction/trials``, in which none of these spaces is,
though MNIST is. Ratios of means over seeds, with 95 % bootstrap intervals over seeds: other draws
from the same table, not other tables. ``explore`` is the default, 5 % of the trainings, unless told
otherwise: a quarter of them is some 5 % of all candidates.

Rivals, and what TPE makes of it, are in `peers`. An adversary: scores without any meaning, which
condemn nothing (each candidate's is drawn). Such a run may have seen all of a table before it has
trained the best of it, so that it is judged by what its first 20 trainings cost, over 20 of a
random search.

Writes ``rung_zero.md`` and ``rung_zero.csv`` (a row a run).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import numpy as np
import optuna
import pandas as pd
import typer
from optuna.pruners import BasePruner, NopPruner, SuccessiveHalvingPruner
from rich.progress import track

from benchmarks.compute_saved.optuna_replay import Ran, new_study, replay
from benchmarks.compute_saved.outcome import cost_to, costs, values
from benchmarks.compute_saved.table import Array, Trained, load
from benchmarks.tables import markdown
from recent_prune import ProbeResult, TrainabilityRule, Verdict
from recent_prune.optuna import ReconstructionEntropyPruner

FOLDER = Path(__file__).parent
SPACES = ("everyday", "default", "wild_mnist", "wild_cifar10", "slow", "benign")
CANDIDATES = 160
"""Trials of a run at most: all of a small table."""
TRAININGS = 12
"""Random search's best of so many is to be reached."""


class ByScore:
    """Condemns nothing, and ranks by a score of its own."""

    def __init__(self, score: Callable[[ProbeResult], float]) -> None:
        self.score = score

    def __call__(self, result: ProbeResult) -> Verdict:
        """Everything can be trained."""
        del result
        return Verdict(True, 0.0, "Not judged.")


def loss_after(result: ProbeResult) -> float:
    """The cheap rival: the lower the loss after the steps the better."""
    assert result.steps is not None
    loss = result.steps.loss_after
    return -loss if math.isfinite(loss) else -math.inf


ADVERSARY = "no meaning, 1/8"
FEW = 20
"""Trainings by which the adversary is judged."""

Maker = Callable[[Trained, int], BasePruner]


def _ranked(
    keep: float, wrapped: Callable[[], BasePruner] | None = None, explore: float = 0.05
) -> Maker:
    def make(_: Trained, __: int) -> BasePruner:
        inner = None if wrapped is None else wrapped()
        return ReconstructionEntropyPruner(TrainabilityRule(), inner, keep=keep, explore=explore)

    return make


def _by(score: Callable[[Trained, int], Callable[[ProbeResult], float]], keep: float) -> Maker:
    return lambda trained, seed: ReconstructionEntropyPruner(
        ByScore(score(trained, seed)), keep=keep
    )


def _known(values: Array, trained: Trained) -> Callable[[ProbeResult], float]:
    found = {id(r): float(v) for r, v in zip(trained.probes, values, strict=True)}
    return lambda result: found[id(result)]


def _halving() -> BasePruner:
    return SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)


METHODS: dict[str, Maker] = {
    "random": lambda *_: NopPruner(),
    "condemn only (keep 1)": _ranked(1.0),
    "keep 1/4": _ranked(1 / 4),
    "keep 1/8": _ranked(1 / 8),
    "keep 1/16": _ranked(1 / 16),
    "keep 1/8, none at random": _ranked(1 / 8, explore=0.0),
    "keep 1/8, a quarter at random": _ranked(1 / 8, explore=0.25),
    "loss after the steps, 1/8": _by(lambda *_: loss_after, 1 / 8),
    "oracle, 1/8": _by(lambda t, _: _known(t.final, t), 1 / 8),
    ADVERSARY: _by(lambda t, seed: _known(np.random.default_rng(seed).random(len(t)), t), 1 / 8),
    "SuccessiveHalving": lambda *_: _halving(),
    "keep 1/8 + SuccessiveHalving": _ranked(1 / 8, _halving),
}


OWN = (
    *("random", "condemn only (keep 1)", "keep 1/4", "keep 1/8", "keep 1/16"),
    *("keep 1/8, none at random", "keep 1/8, a quarter at random", ADVERSARY),
)
"""What is run here; the others are for `budgets`, and `peers` has them with more seeds."""


@cache
def _table(space: str) -> Trained:
    return load(space)


@cache
def _target(space: str, seeds: int) -> float:
    return target(_table(space), seeds)


def target(trained: Trained, seeds: int) -> float:
    """Random search's mean best of `TRAININGS`, over its first seeds."""
    best = [
        trained.final[np.random.default_rng(seed).permutation(len(trained))[:TRAININGS]].max()
        for seed in range(seeds)
    ]
    return float(np.mean(best))


def run(job: tuple[str, str, int, int]) -> dict[str, object]:
    """One run of a method in a space, see `replayed`."""
    space, method, seed, seeds = job
    return {"space": space, **replayed(_table(space), method, seed, _target(space, seeds))}


def replayed(trained: Trained, method: str, seed: int, aim: float) -> dict[str, object]:
    """One run of a method: what it cost to a value, and what it trained."""
    optuna.logging.set_verbosity(logging.ERROR)

    def reached_it(ran: Sequence[Ran]) -> bool:
        return method != ADVERSARY and float(values(trained, ran[-1:])[0]) >= aim

    study = new_study(trained, METHODS[method](trained, seed), "random", seed)
    ran = replay(study, trained, CANDIDATES, done=reached_it)
    cost = cost_to(trained, ran, "flops", aim)
    reached = math.isfinite(cost)
    whole = values(trained, ran)
    end = int(np.flatnonzero(whole >= aim)[0]) + 1 if reached else len(ran)
    return {
        "method": method,
        "seed": seed,
        "reached": reached,
        "cost": cost if reached else float(costs(trained, ran, "flops").sum()),
        "candidates": end,
        "trainings": sum(r.epochs == trained.epochs for r in ran[:end]),
        "trained": sum(r.epochs > 0 for r in ran),
        "of": len(ran),
        "first_trainings": _cost_of_first(trained, ran),
    }


def _cost_of_first(trained: Trained, ran: Sequence[Ran]) -> float:
    """Until so many whole trainings are done; NaN if there are fewer."""
    whole = np.cumsum([r.epochs == trained.epochs for r in ran])
    ends = np.flatnonzero(whole == FEW)
    return float(costs(trained, ran, "flops")[: ends[0] + 1].sum()) if len(ends) else math.nan


def ratio(
    runs: pd.DataFrame, method: str, against: str = "random", cost: str = "cost"
) -> tuple[float, float, float]:
    """Of the mean costs, and its 95 % bootstrap interval over seeds that both have."""
    table = runs.pivot(index="seed", columns="method", values=cost)[[method, against]].dropna()
    one, other = (table[name].to_numpy(float) for name in (method, against))
    draws = np.random.default_rng(0).integers(0, len(one), (2000, len(one)))
    found = one[draws].mean(axis=1) / other[draws].mean(axis=1)
    low, high = np.quantile(found, [0.025, 0.975])
    return float(one.mean() / other.mean()), float(low), float(high)


def page(runs: pd.DataFrame, seeds: int) -> str:
    """The tables."""
    shares, counts = [], []
    for method in runs["method"].unique():
        if method == ADVERSARY:
            continue
        share: dict[str, object] = {"method": method}
        count: dict[str, object] = {"method": method}
        for space, part in runs.groupby("space", sort=False):
            own = part[part["method"] == method]
            middle, low, high = ratio(part, method)
            missed = int((~own["reached"]).sum())
            share[str(space)] = f"{middle:.2f} [{low:.2f}, {high:.2f}]" + (
                f", {missed} missed" if missed else ""
            )
            count[str(space)] = f"{own['trainings'].mean():.1f} of {own['candidates'].mean():.0f}"
        shares.append(share)
        counts.append(count)
    return "\n\n".join(
        [
            "# Rung zero",
            f"Cost to random search's mean best of {TRAININGS} trainings over that of random "
            f"search; {seeds} seeds, {CANDIDATES} candidates at most. *Missed*: runs that did not "
            "reach it, which count with all that they cost.",
            markdown(pd.DataFrame(shares)),
            "Whole trainings until then, of candidates:",
            markdown(pd.DataFrame(counts)),
            f"Scores without any meaning: what the first {FEW} trainings and all candidates until "
            f"then cost, over {FEW} of a random search, and candidates a training:",
            markdown(pd.DataFrame(adversary(runs))),
            "",
        ]
    )


def adversary(runs: pd.DataFrame) -> list[dict[str, object]]:
    """What meaningless scores cost, a row a space."""
    rows: list[dict[str, object]] = []
    for space, part in runs.groupby("space", sort=False):
        own = part[part["method"] == ADVERSARY]
        enough = int(own["first_trainings"].notna().sum()) >= len(own) // 2
        middle, low, high = ratio(part, ADVERSARY, cost="first_trainings") if enough else (0, 0, 0)
        rows.append(
            {
                "space": space,
                "cost": f"{middle:.2f} [{low:.2f}, {high:.2f}]" if enough else "too few candidates",
                "candidates a training": f"{(own['of'] / own['trained']).mean():.1f}",
                "runs with so many": int(own["first_trainings"].notna().sum()),
            }
        )
    return rows


def main(
    seeds: Annotated[int, typer.Option(help="Runs of each method.")] = 40,
    workers: Annotated[int, typer.Option(help="Processes.")] = 2,
    only: Annotated[
        list[str] | None, typer.Option(help="Methods to run again; the other rows stay.")
    ] = None,
) -> None:
    """Replay and compare."""
    methods = only or list(OWN)
    jobs = [(s, m, seed, seeds) for s in SPACES for m in methods for seed in range(seeds)]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        rows = list(track(pool.map(run, jobs, chunksize=5), total=len(jobs)))
    runs = pd.DataFrame(rows)
    if only:
        known = pd.read_csv(FOLDER / "rung_zero.csv")
        runs = pd.concat([known[~known["method"].isin(only)], runs])
        order = [SPACES.index(space) for space in runs["space"]]
        runs = (
            runs.assign(order=order).sort_values(["order", "method", "seed"]).drop(columns="order")
        )
    runs.to_csv(FOLDER / "rung_zero.csv", index=False)
    (FOLDER / "rung_zero.md").write_text(page(runs, seeds), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
