"""What became of the trials: which fail, which are good, and which tasks nobody may look at.

A trial's **quality** is its accuracy over that of the best constant prediction, as a share of what
could be gained (of values: the share of their variance that is explained): 0 for a constant, 1 for
a perfect prediction, in any task. Its **reach** is its quality at the end of its budget over the
best that any trial of its group (task and family) had at or before that step. It *fails* below one
half, and is *good* from nine tenths on. Groups whose best is below `LEARNABLE` at that step say
nothing and are left out.

The question (committed before any table was looked at): do the first steps, and the probe after
them, tell which trials fail, and rank the trials of a group, in tasks that the model was not
fitted on? Everything is chosen on the tasks that are not `HELD_OUT`, by leaving one of them out in
turn; the threshold of the verdict is the safest that any way of leaving groups out asks for. Then
`HELD_OUT` is looked at, once.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd

FOLDER = Path(__file__).parent
FAILS = 0.5
GOOD = 0.9
LEARNABLE = 0.05
HELD_OUT = (
    "cifar10 grey",
    "cifar10 colour",
    "sorting",
    "friedman",
    "wave classes",
    "wave values",
    "coordinates",
)
"""Tasks of five data sets, images, tokens, tables, series and positions, of which no model, number
or threshold may know."""


def labelled(trials: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """Trials with ``quality``, ``best``, ``reach``, ``fails`` and ``good``.

    Args:
        trials: A row a trial, as `train` writes them.
        curves: A row a checkpoint, likewise.
    """
    curves = curves.merge(
        trials[["index", "task", "family", "budget", "constant_accuracy"]], on="index"
    )
    room = 1 - curves["constant_accuracy"]
    # A loss that is not finite leaves nothing.
    curves["quality"] = ((curves["accuracy"] - curves["constant_accuracy"]) / room).fillna(0.0)
    ends = curves.sort_values("step").groupby("index")["quality"].last().clip(0, 1)
    table = trials.merge(ends, left_on="index", right_index=True)
    table["best"] = _best_at(table, curves)
    table["learnable"] = table["best"] >= LEARNABLE
    table["reach"] = (table["quality"] / table["best"].clip(lower=LEARNABLE)).clip(0, 1)
    table["fails"] = table["reach"] < FAILS
    table["good"] = table["reach"] >= GOOD
    return table


def _best_at(table: pd.DataFrame, curves: pd.DataFrame) -> np.ndarray:
    """The best quality in each trial's group at or before the end of its budget."""
    best = np.zeros(len(table))
    for group, rows in table.groupby(["task", "family"]).indices.items():
        task, family = cast("tuple[str, str]", group)
        of = curves[(curves["task"] == task) & (curves["family"] == family)]
        ordered = of.sort_values("step")
        steps, most = ordered["step"].to_numpy(), ordered["quality"].cummax().to_numpy()
        for row in rows:
            place = np.searchsorted(steps, table["budget"].iloc[row], side="right") - 1
            best[row] = most[place] if place >= 0 else 0.0
    return best


def load(steps: int, *, held_out: bool) -> pd.DataFrame:
    """Labels and measurements of the development tasks, or of the held-out ones."""
    trials, curves = (pd.read_parquet(FOLDER / f"{n}.parquet") for n in ("trials", "trained"))
    table = labelled(trials, curves)
    table = table[table["task"].isin(HELD_OUT) == held_out]
    measured = pd.read_parquet(FOLDER / f"measured_{steps}.parquet")
    measured = measured.drop(columns=["budget", "learning_rate", "seconds"])
    return table.merge(measured, on="index").reset_index(drop=True)
