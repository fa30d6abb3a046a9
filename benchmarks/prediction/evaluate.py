"""Compare what was predicted with what came of it.

    python -m benchmarks.prediction.evaluate --sample test --data digits

Protocol: a network *trains* if its best accuracy exceeds 0.5, and is *good* if it comes within 0.1
of the best of the sample. Scores come from ``scores_SAMPLE_DATA.csv`` (see `score`), labels and the
accuracy after a few steps of real training from ``trained_SAMPLE_DATA.csv``. AUROC for "trains";
intervals: 95 %, bootstrap over networks (percentile, 2,000 draws), differences paired. The default
probe is scored by `TrainabilityRule`, whose curves were fitted to the tuning and the validation
sample: there, its figures are in-sample (`fit` has the cross-validated ones).

The **hard band** holds the networks of which the free predictors are not sure: where the
regression on the hyperparameters (out of fold) gives a probability between 0.1 and 0.9, or where
it and mean field, each at the threshold that serves it best, disagree.

Writes ``results_SAMPLE_DATA.md``, in seconds.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
import typer
from scipy.special import expit
from scipy.stats import bootstrap, rankdata
from sklearn.metrics import roc_curve

from benchmarks.prediction.free import hyperparameters
from benchmarks.prediction.score import ESTIMATORS, NUMBERS, RULES
from benchmarks.tables import markdown
from recent_prune.rules import profile_numbers
from recent_prune.rules.additive import AdditiveModel

FOLDER = Path(__file__).parent
DEFAULT = "probe (default), `TrainabilityRule`"
TRAINABILITY = {f"TrainabilityRule({least:g})": least for least in (0.1, 0.3, 0.5)}
BINS = (-0.001, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
DEFAULT_RULE = "RetainedInformationRule(0.005)"
REGRESSION = "regression on the hyperparameters"
FREE = [
    REGRESSION,
    "mean field",
    "partial Jacobian norm",
    "gradient ratio, first to last layer",
    "median gradient size",
    "cosine similarity of activations",
    "NTK condition number",
    "minus the number of parameters",
    "minus the depth",
]
REAL = {
    "step_1": "accuracy after 1 real step",
    "step_10": "after 10",
    "step_50": "after 50",
    "first_epoch": "after the first epoch",
}

FEWEST = 10
"""Networks of either kind that an interval needs."""

Mask = npt.NDArray[np.bool_]
Column = npt.NDArray[np.float64]


def log_odds(numbers: pd.DataFrame, model: AdditiveModel | None = None) -> Column:
    """Of each network; −1e38 where a number is not finite, and for dead ones."""
    rows = [{str(k): float(v) for k, v in row.items()} for row in numbers.to_dict("records")]
    finite = np.isfinite(numbers.to_numpy(float)).all(axis=1)
    found = [profile_numbers.log_odds(row, model) for row in rows]
    return np.where(finite, np.maximum(found, -1e38), -1e38)


def auroc(trains: Mask, score: Column, axis: int = -1) -> Column:
    """Area under the ROC curve along an axis; NaN where only one class is there."""
    ranks = rankdata(score, axis=axis)
    positive = trains.sum(axis=axis)
    negative = trains.shape[axis] - positive
    with np.errstate(invalid="ignore"):
        above = (ranks * trains).sum(axis=axis) - positive * (positive + 1) / 2
        return np.asarray(above / (positive * negative))


def with_interval(trains: Mask, score: Column) -> str:
    """AUROC with its interval, where there are enough networks for one."""
    fewer = min(trains.sum(), (~trains).sum())
    if fewer < FEWEST:
        return "–" if fewer == 0 else f"{float(auroc(trains, score)):.3f} ({fewer} of a kind)"
    low, high = _interval((trains, score), auroc)
    return f"{float(auroc(trains, score)):.3f} [{low:.3f}, {high:.3f}]"


def difference(trains: Mask, one: Column, other: Column) -> str:
    """Difference of two AUROCs with its interval."""

    def statistic(trains: Mask, one: Column, other: Column, axis: int = -1) -> Column:
        return auroc(trains, one, axis) - auroc(trains, other, axis)

    low, high = _interval((trains, one, other), statistic)
    return f"{float(statistic(trains, one, other)):+.3f} [{low:+.3f}, {high:+.3f}]"


def _interval(
    sample: tuple[npt.NDArray[Any], ...], statistic: Callable[..., Column]
) -> tuple[float, float]:
    found = bootstrap(
        sample,
        statistic,
        paired=True,
        vectorized=True,
        n_resamples=2000,
        method="percentile",
        rng=0,
    ).confidence_interval
    return float(found.low), float(found.high)


def hard_band(scores: pd.DataFrame, trains: Mask) -> Mask:
    """Networks of which the free predictors are not sure."""

    def verdict(name: str) -> Mask:
        miss, hit, thresholds = roc_curve(trains, scores[name])
        return np.asarray(scores[name] >= thresholds[(hit - miss).argmax()])

    log_odds = np.log(9)
    unsure = scores[REGRESSION].abs() < log_odds
    return np.asarray(unsure | (verdict(REGRESSION) != verdict("mean field")))


def prediction_table(table: pd.DataFrame, parts: dict[str, Mask]) -> pd.DataFrame:
    """AUROC of every predictor in every part of the sample."""
    trains = (table["accuracy"] > 0.5).to_numpy()
    rows = []
    for name in [DEFAULT, *ESTIMATORS, *FREE, *REAL]:
        if name not in table or table[name].isna().all():
            continue
        row = {"predictor": REAL.get(name, name)}
        for part, chosen in parts.items():
            known = chosen & table[name].notna().to_numpy()
            whole = known.sum() == chosen.sum()
            row[part] = with_interval(trains[known], table[name].to_numpy(float)[known])
            row[part] += "" if whole else f" ({known.sum()} of {chosen.sum()})"
        seconds = table.get(f"{name}, seconds")
        row["median seconds"] = "" if seconds is None else f"{seconds.median():.3f}"
        rows.append(row)
    return pd.DataFrame(rows)


def comparison_table(table: pd.DataFrame, parts: dict[str, Mask]) -> pd.DataFrame:
    """The default probe minus its rivals, on the networks that both have scores for."""
    trains = (table["accuracy"] > 0.5).to_numpy()
    rivals = [n for n in (*ESTIMATORS, *FREE, "first_epoch") if n in table]
    rows = []
    for name in rivals:
        row = {"the default probe minus …": REAL.get(name, name)}
        for part, chosen in parts.items():
            known = chosen & table[name].notna().to_numpy()
            values = [table[c].to_numpy(float)[known] for c in (DEFAULT, name)]
            row[part] = difference(trains[known], *values)
        rows.append(row)
    return pd.DataFrame(rows)


def calibration_table(table: pd.DataFrame) -> pd.DataFrame:
    """How many train of the networks to which `TrainabilityRule` gives about the same chance."""
    probability = pd.Series(expit(table[DEFAULT]), index=table.index)
    rows = []
    for bounds, said in probability.groupby(pd.cut(probability, BINS), observed=True):
        trains = table.loc[said.index, "accuracy"] > 0.5
        rows.append(
            {
                "probability": f"{max(bounds.left, 0):.1f} to {bounds.right:.1f}",
                "mean": f"{said.mean():.2f}",
                "networks": len(said),
                "that train": f"{trains.mean():.0%}",
            }
        )
    return pd.DataFrame(rows)


def rules_table(table: pd.DataFrame) -> pd.DataFrame:
    """What each rule, on the default probe, would have pruned, by family."""
    trains = table["accuracy"] > 0.5
    good = table["accuracy"] > table["accuracy"].max() - 0.1
    rows = []
    for rule in (*TRAINABILITY, *RULES):
        for family, part in [("all", table), *table.groupby("family")]:
            if family != "all" and rule not in (DEFAULT_RULE, "TrainabilityRule(0.5)"):
                continue
            condemned = part[rule].astype(bool)
            t, g = trains[part.index], good[part.index]
            rows.append(
                {
                    "rule": rule,
                    "family": family,
                    "untrainable caught": f"{(condemned & ~t).sum()} of {(~t).sum()}",
                    "good lost": f"{(condemned & g).sum()} of {g.sum()}",
                    "mediocre lost": f"{(condemned & t & ~g).sum()} of {(t & ~g).sum()}",
                }
            )
    return pd.DataFrame(rows)


def main(
    sample: Annotated[str, typer.Option(help="A key of networks.SAMPLES.")] = "test",
    data: Annotated[str, typer.Option(help="digits or mnist")] = "digits",
) -> None:
    """Write ``results_SAMPLE_DATA.md``."""
    trained = pd.read_csv(FOLDER / f"trained_{sample}_{data}.csv")
    scores = pd.read_csv(FOLDER / f"scores_{sample}_{data}.csv")
    table = trained.merge(scores, on="index")
    table[DEFAULT] = log_odds(table[list(NUMBERS)])
    for rule, least in TRAINABILITY.items():
        table[rule] = expit(table[DEFAULT]) < least
    table = table.replace([np.inf, -np.inf], [1e38, -1e38])
    trains = (table["accuracy"] > 0.5).to_numpy()
    table[REGRESSION] = hyperparameters(table, trains)
    plain = table["family"].isin(["plain MLP", "plain CNN"]).to_numpy()
    hard = hard_band(table, trains)
    everything = np.ones(len(table), dtype=bool)
    parts = {
        "all": everything,
        "plain (no norm, no skip; tanh, ReLU, GELU)": plain,
        "hard band": hard,
    }
    families = {f: (table["family"] == f).to_numpy() for f in table["family"].unique()}
    text = "\n\n".join(
        [
            f"# Prediction: {sample} sample on {data}",
            f"{len(table)} networks, {trains.sum()} of which train; hard band: {hard.sum()}, of "
            f'which {trains[hard].sum()} train. AUROC for "trains", 95 % bootstrap intervals; '
            "where a predictor takes only some networks, their number is given.",
            markdown(prediction_table(table, parts)),
            "Paired differences, positive where the probe is better:",
            markdown(comparison_table(table, parts)),
            "By family:",
            markdown(prediction_table(table, families).drop(columns="median seconds")),
            "Of networks to which `TrainabilityRule` gives a probability, how many train:",
            markdown(calibration_table(table)),
            "What the rules prune, with the default probe (good: within 0.1 of the best accuracy "
            "of the sample; mediocre: trains to something worse):",
            markdown(rules_table(table)),
            f"Python {platform.python_version()}, torch {torch.__version__}, {platform.machine()}, "
            "one thread a process.",
        ]
    )
    (FOLDER / f"results_{sample}_{data}.md").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    typer.run(main)
