"""What the score knows of search spaces that it was not fitted on, and what it could know.

    python -m benchmarks.prediction.trials.spaces   # a minute

The spaces are those of ``benchmarks/compute_saved``, whose trials are in no table of this folder.
Three forests of the same kind are asked about each:

- *shipped*: fitted to the development tasks;
- *and other spaces*: to all tasks of this folder and to the other spaces as well;
- *within*: to nine tenths of the space itself, about the last tenth, in turn: what these numbers
  know where nothing has to travel. (Its reach is the accuracy over chance, as a share of the best.)

A trial *fails* if it ends less than half of the way from chance to the best of its space; the
AUROC is that of the predicted reach, Spearman's correlation that of the predicted rank with the
final accuracy. *Best eighth*: mean final accuracy of the eighth that ranks first. The mean over
``SEEDS`` forests, as one of a hundred trees says something else by some 0.01. Writes
``results_spaces.md``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from rich.progress import track
from sklearn.model_selection import KFold

from benchmarks.compute_saved.table import load as load_space
from benchmarks.prediction.trials.evaluate import auroc, spearman
from benchmarks.prediction.trials.fit import STEPS, fitted, numbers_of, rank_of, said
from benchmarks.prediction.trials.labels import load
from benchmarks.tables import markdown
from recent_prune.rules.ranking import TYPICAL_BUDGET
from recent_prune.rules.step_numbers import profile_after, step_numbers

FOLDER = Path(__file__).parent
SPACES = ("everyday", "default", "wild_mnist", "wild_cifar10", "slow", "benign")
CHANCE = 0.1
"""All have ten classes."""
SEEDS = 3
FOLDS = 10

Column = npt.NDArray[np.float64]


def known_of(name: str) -> pd.DataFrame:
    """Numbers of a space's trials, their ``final`` accuracy, ``reach`` and ``rank``."""
    space = load_space(name)
    rows = []
    for result, final in zip(space.probes, space.final, strict=True):
        steps = result.steps
        assert steps is not None
        floors = result.retained_by_floor[-1] if result.retained_by_floor else (np.nan,) * 3
        after = profile_after(
            floors,
            result.relative_variance[-1],
            result.gram_entropy[-1],
            result.activation_rms[-1],
        )
        rows.append(
            {**step_numbers(steps, steps.budget or TYPICAL_BUDGET), **after, "final": final}
        )
    table = pd.DataFrame(rows).replace([np.inf, -np.inf], np.nan)
    most = table["final"].max()
    table["reach"] = ((table["final"] - CHANCE) / (most - CHANCE)).clip(0, 1)
    table["rank"] = (table["final"].rank() - 0.5) / len(table)
    return table


def tasks(*, all_of_them: bool) -> pd.DataFrame:
    """Likewise of the trials of this folder, each task a space of its own."""
    kinds = (False, True) if all_of_them else (False,)
    table = pd.concat([load(STEPS, held_out=kind) for kind in kinds], ignore_index=True)
    table = table[table["learnable"]].reset_index(drop=True)
    return numbers_of(table).assign(reach=table["reach"], rank=rank_of(table))


def asked(seen: pd.DataFrame, unseen: pd.DataFrame, target: str, seed: int) -> Column:
    """What a forest that is fitted to some trials says of others."""
    numbers = [name for name in seen if name not in ("final", "reach", "rank")]
    return said(fitted(seen[numbers], seen[target], seed), unseen[numbers])[0]


def within(space: pd.DataFrame, target: str, seed: int) -> Column:
    """What forests say that are fitted to the space's other trials."""
    found = np.zeros(len(space))
    for seen, unseen in KFold(FOLDS, shuffle=True, random_state=seed).split(space):
        found[unseen] = asked(space.iloc[seen], space.iloc[unseen], target, seed)
    return found


def figures(space: pd.DataFrame, reach: Column, rank: Column) -> tuple[float, float, float]:
    """AUROC, Spearman's correlation, and the mean final accuracy of the best eighth."""
    final = space["final"].to_numpy()
    fails = (final < CHANCE + (final.max() - CHANCE) / 2).astype(bool)
    best = np.argsort(-rank)[: len(rank) // 8]
    return auroc(reach, fails), spearman(rank, final), float(final[best].mean())


def main() -> None:
    """Compare and write down."""
    spaces = {name: known_of(name) for name in SPACES}
    development, everything = tasks(all_of_them=False), tasks(all_of_them=True)
    rows = []
    for name, space in track(spaces.items(), description="spaces"):
        others = [table for other, table in spaces.items() if other != name]
        elsewhere = pd.concat([everything, *others], ignore_index=True)
        found: dict[str, list[tuple[float, float, float]]] = {}
        for seed in range(SEEDS):
            for kind, table in {"shipped": development, "and other spaces": elsewhere}.items():
                pair = [asked(table, space, target, seed) for target in ("reach", "rank")]
                found.setdefault(kind, []).append(figures(space, *pair))
            pair = [within(space, target, seed) for target in ("reach", "rank")]
            found.setdefault("within", []).append(figures(space, *pair))
        means = {kind: np.mean(values, axis=0) for kind, values in found.items()}
        rows += [
            {
                "space": name,
                "": what,
                **{kind: "–" if np.isnan(m[i]) else f"{m[i]:.3f}" for kind, m in means.items()},
            }
            for i, what in enumerate(("AUROC", "Spearman", "best eighth"))
        ]
    text = f"`python -m benchmarks.prediction.trials.spaces`\n\n{markdown(pd.DataFrame(rows))}\n"
    (FOLDER / "results_spaces.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
