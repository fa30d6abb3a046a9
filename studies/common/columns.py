"""How well a prediction agrees with what really trains, over σ_w² and depth."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

RESAMPLED = 500
"""Bootstrap samples for an interval."""


@dataclass(frozen=True)
class Column:
    """The trained networks of one σ_w².

    Attributes:
        predictions: Of each network.
        trains: Whether it does.
        depth: Of the deepest one that does, or 0.
    """

    predictions: np.ndarray[tuple[int], np.dtype[np.float64]]
    trains: np.ndarray[tuple[int], np.dtype[np.bool_]]
    depth: float


def columns_of(table: pd.DataFrame, predictor: str) -> list[Column]:
    """The trained networks, by σ_w², with one of the predictions."""
    return [
        Column(
            group[predictor].to_numpy(float),
            group["trains"].to_numpy(bool),
            float((group["depth"] * group["trains"]).max()),
        )
        for _, group in table.groupby("weight_variance")
    ]


def auroc(columns: Sequence[Column]) -> float:
    """Over all networks: of the prediction, for those that train."""
    trains = np.concatenate([column.trains for column in columns])
    if trains.all() or not trains.any():
        return math.nan
    predictions = np.concatenate([column.predictions for column in columns])
    return float(roc_auc_score(trains, predictions))


def spearman(columns: Sequence[Column]) -> float:
    """Over σ_w²: of the depth of the deepest network that trains with the mean prediction."""
    deepest = [column.depth for column in columns]
    predicted = [float(column.predictions.mean()) for column in columns]
    if len(set(deepest)) < 2 or len(set(predicted)) < 2:
        return math.nan
    return float(spearmanr(deepest, predicted).statistic)


def with_interval(columns: Sequence[Column], statistic: Callable[[Sequence[Column]], float]) -> str:
    """The statistic with its 95 % interval, σ_w² resampled, networks of one staying together."""
    value = statistic(columns)
    if math.isnan(value):
        return "–"
    numbers = np.random.default_rng(0)
    drawn = [
        statistic([columns[i] for i in numbers.integers(len(columns), size=len(columns))])
        for _ in range(RESAMPLED)
    ]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return f"{value:.2f} ({low:.2f}–{high:.2f})"


def fitted_k(table: pd.DataFrame) -> float:
    """K of depth ≤ k ξ with the fewest errors."""
    candidates = np.exp(-np.sort(table["mean field"].unique()))
    errors = [((table["mean field"] >= -np.log(k)) != table["trains"]).sum() for k in candidates]
    best = np.flatnonzero(np.array(errors) == min(errors))
    return float(candidates[best[len(best) // 2]])
