"""Fit the forest of `TrainabilityRule` to trials that were really trained.

    python -m benchmarks.prediction.trials.fit

Takes the first steps from ``measured_6.parquet`` and the labels from `labels`; writes
``recent_prune/rules/first_steps_reach.json`` and ``…_rank.json``, in seconds. The forests predict
the *reach* of a trial, from 0 (no better than a constant prediction) to 1 (as good as the best of
its kind within its budget), by which it is judged, and its *rank*: the share of the trials of its
task whose reach it exceeds, by which a sweep is ranked. (By the predicted reach the ranking is as
good over all trials, but not among the best of them: of the compute that rung zero leaves in a
development task that was left out, at 1/8, the rank left 0.42 and the reach 0.48 in the mean.)
Extremely randomized trees, once from the steps and the profile after them, once from the steps
alone. What they do on tasks that they were not fitted on is told by `evaluate`; what is shipped is
fitted to the development tasks alone, so that the held-out ones stay what they are.
"""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.ensemble import ExtraTreesRegressor

from benchmarks.prediction.trials.labels import load
from recent_prune.probe import FirstSteps
from recent_prune.rules.forest import Forest, Tree
from recent_prune.rules.step_numbers import (
    NUMBERS,
    PROFILE_NUMBERS,
    profile_after,
    step_numbers,
)

STEPS = 6
TREES = 100
LEAVES = 64
"""With 32 the AUROC of a task left out is 0.006 lower; more trees add nothing."""
LEAST_SAMPLES = 3
Column = npt.NDArray[np.float64]
RULES = Path(__file__).parents[3] / "recent_prune" / "rules"


def numbers_of(table: pd.DataFrame) -> pd.DataFrame:
    """What the rule looks at, a row a trial; the budget is the trial's own."""
    names = {field.name for field in fields(FirstSteps)}
    rows = []
    for row in table.rename(columns={"constant_loss_y": "constant_loss"}).to_dict("records"):
        known = {name: _plain(value) for name, value in row.items() if name in names}
        rows.append(step_numbers(FirstSteps(**known)))
        floors = [row[f"retained_{i}_after"] for i in range(3)]
        rows[-1] |= profile_after(
            floors, row["variance_after"], row["gram_entropy_after"], row["rms_after"]
        )
    return pd.DataFrame(rows, columns=[*NUMBERS, *PROFILE_NUMBERS], index=table.index)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return tuple(float(item) for item in value)
    return value


def fitted(numbers: pd.DataFrame, reach: pd.Series, seed: int = 0) -> Forest:
    """A forest of trees, as the package reads it."""
    typical = numbers.median()
    model = ExtraTreesRegressor(
        TREES, max_leaf_nodes=LEAVES, min_samples_leaf=LEAST_SAMPLES, random_state=seed
    )
    model.fit(numbers.fillna(typical).to_numpy(), reach.to_numpy())
    return Forest(
        names=tuple(numbers.columns),
        typical=_rounded(typical),
        least=_rounded(numbers.min()),
        most=_rounded(numbers.max()),
        trees=tuple(_tree(one.tree_) for one in model.estimators_),
    )


def _tree(tree: Any) -> Tree:
    leaf = tree.feature < 0
    return Tree(
        feature=tuple(int(f) for f in np.where(leaf, -1, tree.feature)),
        threshold=_rounded(np.where(leaf, 0.0, tree.threshold)),
        left=tuple(int(i) for i in np.where(leaf, 0, tree.children_left)),
        right=tuple(int(i) for i in np.where(leaf, 0, tree.children_right)),
        value=_rounded(np.where(leaf, tree.value[:, 0, 0], 0.0)),
    )


def _rounded(values: Any) -> tuple[float, ...]:
    return tuple(float(f"{value:.5g}") for value in np.asarray(values, dtype=float))


def rank_of(table: pd.DataFrame) -> pd.Series:
    """The share of the other trials of its task whose reach a trial exceeds; ties count half."""
    of = table.groupby("task")["reach"]
    return (of.rank() - 0.5) / of.transform("size")


def said(forest: Forest, numbers: pd.DataFrame) -> tuple[Column, Column]:
    """Mean and standard deviation of the trees, of each trial."""
    # An error that is the trees' standard deviation alone.
    asked = replace(forest, error=(0.0, 1.0))
    rows = numbers.to_dict("records")
    answers = [asked({str(k): float(v) for k, v in row.items()}) for row in rows]
    return np.array([a.mean for a in answers]), np.array([a.error for a in answers])


def error_of(table: pd.DataFrame, numbers: pd.DataFrame, target: pd.Series) -> tuple[float, float]:
    """A line through the absolute errors, each task left out in turn, over the trees' deviation."""
    deviations, errors = [], []
    for task in table["task"].unique():
        unseen = (table["task"] == task).to_numpy()
        mean, deviation = said(fitted(numbers[~unseen], target[~unseen]), numbers[unseen])
        deviations.append(deviation)
        errors.append(np.abs(target[unseen].to_numpy() - mean))
    growth, agreed = np.polyfit(np.concatenate(deviations), np.concatenate(errors), 1)
    return float(f"{agreed:.3g}"), float(f"{growth:.3g}")


def main() -> None:
    """Fit to the development tasks and write the forests."""
    table = load(STEPS, held_out=False)
    table = table[table["learnable"]]
    numbers = numbers_of(table)
    looked_at = {"steps and profile": list(numbers.columns), "steps alone": list(NUMBERS)}
    for name, target in {"reach": table["reach"], "rank": rank_of(table)}.items():
        shipped = {
            what: replace(
                fitted(numbers[columns], target),
                error=error_of(table, numbers[columns], target),
            ).to_dict()
            for what, columns in looked_at.items()
        }
        text = json.dumps(shipped, separators=(",", ":")) + "\n"
        (RULES / f"first_steps_{name}.json").write_text(text, encoding="utf-8")
    print(f"{len(table)} trials of {table['task'].nunique()} tasks: {RULES}")


if __name__ == "__main__":
    main()
