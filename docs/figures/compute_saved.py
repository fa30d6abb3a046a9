"""What a search saves: figures from ``benchmarks/compute_saved``."""

from __future__ import annotations

from functools import cache

import pandas as pd

from benchmarks.compute_saved import rung_zero
from docs.figures.results import ROOT, Source, environment, markdown, table

FOLDER = "benchmarks/compute_saved"
SPACES = {
    "everyday": "everyday: MLPs, CNNs, transformers; four optimizers, 1e-5 to 1",
    "default": "PyTorch's default initialization, MLPs",
    "wild_mnist": "wild: MLPs and CNNs, half of them plain",
    "wild_cifar10": "the same on CIFAR-10",
    "slow": "slow starters",
    "benign": "benign: He's initialization, batch norm, skips",
}
KEEP = "keep 1/8"
RIVALS = {
    KEEP: "`keep=1/8`",
    "loss after the steps, 1/8": "loss after the same steps",
    "SuccessiveHalving": "successive halving",
    "Syne Tune ASHACQR": "ASHA with CQR (Syne Tune)",
    "SMAC Hyperband": "Hyperband (SMAC)",
    "TPE": "TPE",
}
"""Each by itself; the cheapest of them is set in bold."""
BESIDE = {
    f"{KEEP} + SuccessiveHalving": "`keep=1/8` + halving",
    f"{KEEP} + Syne Tune ASHACQR": "`keep=1/8` + ASHA with CQR",
}
IN_FRONT = {"none": "alone", "1-Epoch, top 3": "+ 1-Epoch", "SuccessiveHalving": "+ halving"}
MACHINE = environment(f"{FOLDER}/everyday_environment.json")
OTHER_TASKS = f"{FOLDER}/other_tasks.md"
IN_OTHER_TASKS = Source("python -m benchmarks.compute_saved.other_tasks", MACHINE, "2026-11-30")
RANKED = Source("python -m benchmarks.compute_saved.rung_zero", MACHINE, "2026-11-30")
PEERS = Source("python -m benchmarks.compute_saved.peers.measure", MACHINE, "2026-11-30")
REPLAYED = Source("python -m benchmarks.compute_saved.measure", MACHINE, "2026-11-25")


@cache
def _beside_peers() -> pd.DataFrame:
    return pd.read_csv(ROOT / FOLDER / "peers.csv")


@cache
def _runs() -> pd.DataFrame:
    return pd.read_csv(ROOT / FOLDER / "runs.csv")


def _ratio(space: str, method: str) -> float:
    runs = _beside_peers()
    return rung_zero.ratio(runs[runs["space"] == space], method, cost="flops_12")[0]


def cost_of_ranking() -> str:
    """Cost to random search's best of 12 trainings, by space, in shares of its own.

    Beside the real code of others.
    """
    rows = []
    for space, name in SPACES.items():
        costs = {method: f"{_ratio(space, method):.2f}" for method in RIVALS | BESIDE}
        least = min(costs[method] for method in RIVALS)
        row = {"search space": name}
        for method, head in RIVALS.items():
            row[head] = f"**{least}**" if costs[method] == least else costs[method]
        rows.append(row | {head: costs[method] for method, head in BESIDE.items()})
    return markdown(rows, PEERS)


def cost_of_ranking_with_intervals() -> str:
    """The same for all methods, with intervals, as the benchmark wrote it."""
    found = table(f"{FOLDER}/rung_zero.md", "method", *SPACES)
    rows = [
        {"of the cost of random search": str(method)}
        | {space.replace("_", " "): str(found.loc[method, space]) for space in SPACES}
        for method in found.index
        if method != "random"
    ]
    return markdown(rows, RANKED)


def _left(space: str, method: str, sampler: str = "random") -> float:
    """Median over seeds of the cost with ours in front of a method over that without."""
    runs = _runs()
    part = runs[(runs["space"] == space) & (runs["sampler"] == sampler)]
    ours = "ours" if method == "none" else f"ours + {method}"
    with_, without = (
        part[part["method"] == name].set_index("seed")["total_flops"] for name in (ours, method)
    )
    return float((with_ / without).median())


def cost_of_condemning() -> str:
    """Cost with ours in front of a method over that of the method, by space."""
    known = table(f"{FOLDER}/results.md", "space", "good condemned")
    rows = []
    for space, name in SPACES.items():
        about = known.loc[space]
        rows.append(
            {"search space": name, "dead, of the cost": str(about["dead, of the cost"])}
            | {head: f"{_left(space, method):.2f}" for method, head in IN_FRONT.items()}
            | {"good pruned": f"{about['good condemned']} of {about['good']}"}
        )
    return markdown(rows, REPLAYED)


def condemning(space: str, method: str = "none", sampler: str = "random") -> str:
    """The share of a method's cost that is left with ours in front of it."""
    return f"{_left(space, method, sampler):.0%}".replace("%", " %")


def least_loss() -> str:
    """By how much the best value differs at most, over spaces and methods of `IN_FRONT`."""
    runs = _runs()
    worst = 0.0
    for space in SPACES:
        part = runs[(runs["space"] == space) & (runs["sampler"] == "random")]
        best = part.pivot(index="seed", columns="method", values="best").mean()
        for method in IN_FRONT:
            ours = "ours" if method == "none" else f"ours + {method}"
            worst = max(worst, abs(float(best[ours] - best[method])))
    return f"{worst:.4f}"


def trained() -> str:
    """Number of trials that were really trained for it."""
    known = table(f"{FOLDER}/results.md", "space", "configurations")["configurations"]
    return f"{sum(int(str(known[space])) for space in SPACES):,}"


def ranking_in_other_tasks() -> str:
    """The cost of rung zero in the tasks of ``benchmarks/prediction/trials``, over random search's.

    By a forest that was fitted without the task.
    """
    found = table(OTHER_TASKS, "over tasks").reset_index()
    rows = [{str(k): str(v) for k, v in row.items()} for row in found.to_dict("records")]
    return markdown(rows, IN_OTHER_TASKS)


def in_other_tasks(score: str, statistic: str) -> str:
    """One of these figures, such as ``score, 1/8`` in the ``worst`` task."""
    found = table(OTHER_TASKS, "over tasks")
    known = next(name for name in found.index if str(name).startswith(statistic))
    return str(found.loc[known, score])
