"""The tables of what peers cost."""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmarks.compute_saved.peers.methods import (
    EARLY,
    FOREST,
    LOSS,
    ORACLE,
    PEERS,
    RANDOM,
    behind,
)
from benchmarks.compute_saved.rung_zero import SPACES, ratio
from benchmarks.environment import told
from benchmarks.tables import markdown

TRAININGS = (12, 24)
OURS = behind(RANDOM)
FEWEST = 10
"""Seeds of a peer that may be called the best one of a space."""
NO_PEERS = (RANDOM, LOSS, ORACLE)
OFTEN = 0.1
"""Share of runs that missed a target from which on what they cost says little: they ended early."""


def compared(runs: pd.DataFrame, method: str, against: str, cost: str) -> str:
    """A ratio with its interval and what was missed; in brackets if that was often."""
    own, other = (runs[runs["method"] == name] for name in (method, against))
    if not set(own["seed"]) & set(other["seed"]):
        return "–"
    middle, low, high = ratio(runs, method, against, cost)
    missed = (~own[f"reached_{cost.split('_')[1]}"].astype(bool)).sum()
    text = f"{middle:.2f} [{low:.2f}, {high:.2f}]" + (f", {missed} missed" if missed else "")
    return f"({text})" if missed > OFTEN * len(own) else text


def ratios(runs: pd.DataFrame, pairs: dict[str, tuple[str, str]], cost: str) -> pd.DataFrame:
    """A row a pair of methods, a column a space, and the mean of logarithms over spaces.

    Args:
        runs: A row a run.
        pairs: Name of a row, and which method over which other one.
        cost: Column that is compared.
    """
    rows = []
    for name, (method, against) in pairs.items():
        cells = {
            space: compared(runs[runs["space"] == space], method, against, cost) for space in SPACES
        }
        if set(cells.values()) != {"–"}:
            seeds = runs[runs["method"] == method].groupby("space")["seed"].nunique()
            rows.append({"method": name, **cells, "mean": _mean(cells), "seeds": _between(seeds)})
    return pd.DataFrame(rows)


def _mean(cells: dict[str, str]) -> str:
    """Of the logarithms over spaces, those in which too many were missed left out."""
    known = [float(cell.split()[0]) for cell in cells.values() if cell[0] not in "–("]
    if not known:
        return "–"
    mean = f"{np.exp(np.mean(np.log(known))):.2f}"
    return mean if len(known) == len(SPACES) else f"{mean} of {len(known)}"


def _between(seeds: pd.Series) -> str:
    low, high = int(seeds.min()), int(seeds.max())
    return str(low) if low == high else f"{low}–{high}"


def best_values(runs: pd.DataFrame, methods: list[str]) -> pd.DataFrame:
    """The best value after what 12 trainings cost, less random search's, with 95 % intervals."""
    rows = []
    for method in methods:
        row: dict[str, object] = {"method": method}
        for space in SPACES:
            part = runs[(runs["space"] == space) & runs["method"].isin([method, RANDOM])]
            table = part.pivot(index="seed", columns="method", values="best").dropna()
            if method not in table or table.empty:  # of slow ones it is not known
                continue
            over = (table[method] - table[RANDOM]).to_numpy(float)
            draws = np.random.default_rng(0).integers(0, len(over), (2000, len(over)))
            low, high = np.quantile(over[draws].mean(axis=1), [0.025, 0.975])
            row[space] = f"{over.mean():+.4f} [{low:+.4f}, {high:+.4f}]"
        if len(row) > 1:
            rows.append(row)
    return pd.DataFrame(rows).fillna("–")


def best_peer(runs: pd.DataFrame, cost: str) -> dict[str, str]:
    """Of each space the peer that costs least alone, over random search's cost to the same."""
    found = {}
    for space in SPACES:
        part = runs[runs["space"] == space]
        of = part.groupby("method")[f"reached_{cost.split('_')[1]}"].agg(["size", "mean"])
        sure = of[(of["size"] >= FEWEST) & (of["mean"] >= 1 - OFTEN)].index
        names = [name for name in PEERS if name in sure and name not in NO_PEERS]
        alone = {name: ratio(part, name, RANDOM, cost)[0] for name in names}
        if alone:
            found[space] = min(alone, key=lambda name: alone[name])
    return found


def goals(runs: pd.DataFrame) -> pd.DataFrame:
    """The questions that were written down first, in operations to the best of 12."""
    cost = "flops_12"
    rows: list[dict[str, object]] = []

    def add(question: str, pairs: dict[str, tuple[str, str]]) -> None:
        cells = {
            space: compared(runs[runs["space"] == space], *pairs[space], cost)
            for space in SPACES
            if space in pairs
        }
        rows.append({"question": question, **cells, "mean": _mean(cells)})

    add("rung zero / random search", dict.fromkeys(SPACES, (OURS, RANDOM)))
    best = best_peer(runs, cost)
    add("rung zero + best peer / best peer", {s: (behind(p), p) for s, p in best.items()})
    rows.append({"question": "that peer", **best})
    add("rung zero / best peer", {s: (OURS, p) for s, p in best.items()})
    for question, one, other in (
        ("rung zero + TPE / TPE", behind("TPE"), "TPE"),
        ("rung zero + TPE / rung zero", behind("TPE"), OURS),
        ("rung zero / loss after the same steps", OURS, LOSS),
        ("rung zero / forest on hyperparameters", OURS, FOREST),
        ("rung zero / early look", OURS, EARLY),
        ("rung zero / an oracle of the end", OURS, ORACLE),
    ):
        add(question, dict.fromkeys(SPACES, (one, other)))
    return pd.DataFrame(rows).fillna("–")


def thinking(runs: pd.DataFrame) -> pd.DataFrame:
    """Seconds that a run of a method took to think, and how many runs there are."""
    by = runs.groupby("method", sort=False)["took"]
    table = pd.DataFrame({"seconds": by.mean().round(1), "runs": by.size()})
    return table.reset_index()


def page(runs: pd.DataFrame) -> str:
    """All tables."""
    alone = {name: (name, RANDOM) for name in PEERS if name != RANDOM}
    front = {behind(n): (behind(n), RANDOM) for n, p in PEERS.items() if p.ranked}
    over = {n: (behind(n), n) for n, p in PEERS.items() if p.ranked}
    parts = [
        "# Other people's searches, alone and behind rung zero",
        "Cost until a training ends as good as random search's mean best of 12 trainings, or of 24 "
        "(means of 100 searches): ratios of mean costs over the seeds that both have, in brackets "
        "their 95 % bootstrap intervals over seeds. *Missed*: runs that never did, which count "
        "with all that they cost; in brackets where more than a tenth did, since such a run ends "
        "when the table is drawn, and costs little. *mean*: of the logarithms over the other "
        "spaces.",
        f"Measured on: {told('optuna', 'scikit-learn')}.",
        "## The questions that were written down first",
        markdown(goals(runs)),
    ]
    for trainings in TRAININGS:
        for unit, name in (("flops", "operations"), ("seconds", "seconds")):
            cost = f"{unit}_{trainings}"
            for title, pairs in (
                ("peer / random search", alone),
                ("rung zero + peer / random search", front),
                ("rung zero + peer / peer", over),
            ):
                table = markdown(ratios(runs, pairs, cost))
                parts += [f"## Best of {trainings}, {name}: {title}", table]
    names = [*alone, *front]
    parts += [
        "## The best value after what 12 trainings cost, less random search's",
        markdown(best_values(runs, names)),
        "## What the methods themselves took in the replay, seconds a run",
        markdown(thinking(runs)),
        "",
    ]
    return "\n\n".join(parts)
