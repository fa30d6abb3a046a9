"""Fit the curves of `TrainabilityRule` to networks that were really trained.

    python -m benchmarks.prediction.fit

Takes the numbers of the default probe from ``scores_SAMPLE_digits.csv`` and the labels from
``trained_SAMPLE_digits.csv``, for the tuning and the validation sample; writes
``recent_prune/rules/trainability.json``, ``results_fit.md`` and ``curves.png``, in seconds.

Two questions, a fit each. *Judge*: whether a network trains by the best of a few optimizers.
*Rank*: how likely it is to train by whatever it is given, for which all samples but the
replication one are taken, and each network of the tuning sample twice: once with that label, and
once with what plain SGD alone makes of it (``trained_sgd_tuning_digits.csv``; what no optimizer
trains SGD does not). ``plain_evaluate`` asks what the second knows of other images.

A curve a number, piecewise linear between quantiles of the sample, all fitted together by a
penalized logistic regression. Of retained information more never counts against a network. What
the model does out of sample is estimated by cross-validation (ten folds); `evaluate` tells what it
does on samples that it has not seen.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.model_selection import StratifiedKFold

from benchmarks.prediction.evaluate import auroc, log_odds
from benchmarks.prediction.score import NUMBERS
from benchmarks.prediction.train import TRAINS
from benchmarks.tables import markdown
from recent_prune.rules import profile_numbers
from recent_prune.rules.additive import AdditiveModel, Curve

FOLDER = Path(__file__).parent
SAMPLES = ("tuning", "validation")
RANKED = ("tuning", "validation", "test", "holdout", "confirmation")
INCREASING = ("retained", "mean_retained")
KNOTS = 16
"""Quantiles of the sample, equal ones counted once. 12 and 24 did as well in cross-validation."""
RIDGE = 0.1
"""Penalty on the square of each rise between two knots, beside a sum of log-likelihoods."""
ROUGHNESS = 1.0
"""Penalty on the square of the difference between neighbouring rises: curves bend slowly."""
AXES = {
    "retained": "retained at the deepest layer",
    "mean_retained": "retained, mean over layers",
    "size": "ln size of its activations",
    "response": "ln response to a perturbation",
    "variance": "ln share that varies",
}
LEAST_PROBABILITIES = (0.05, 0.1, 0.2, 0.3, 0.5)

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def fit(
    numbers: pd.DataFrame, trains: Mask, increasing: Sequence[str] = INCREASING
) -> AdditiveModel:
    """The additive model of "trains".

    Args:
        numbers: A row a network, finite.
        trains: Whether each does, both kinds among them.
        increasing: Columns whose curves never fall.
    """
    knots = {name: _knots(numbers[name].to_numpy(float)) for name in numbers}
    ramps = [_ramps(numbers[name].to_numpy(float), knots[name]) for name in numbers]
    design = np.hstack(ramps)
    ends = np.cumsum([part.shape[1] for part in ramps])
    signs = np.where(trains, 1.0, -1.0)

    def loss(theta: Array) -> tuple[float, Array]:
        rises, intercept = theta[:-1], theta[-1]
        margins = signs * (design @ rises + intercept)
        pull = -signs * expit(-margins)
        bends = [np.diff(part) for part in np.split(rises, ends[:-1])]
        value = np.logaddexp(0, -margins).sum() + 0.5 * RIDGE * (rises**2).sum()
        value += 0.5 * ROUGHNESS * sum((bend**2).sum() for bend in bends)
        # The derivative of Σ (r_{i+1} − r_i)² / 2 is −(bend after) + (bend before).
        rough = np.concatenate([-np.diff(bend, prepend=0, append=0) for bend in bends])
        slope = design.T @ pull + RIDGE * rises + ROUGHNESS * rough
        return float(value), np.append(slope, pull.sum())

    bounds: list[tuple[float | None, float | None]] = []
    for name, part in zip(numbers, ramps, strict=True):
        bounds += [(0.0 if name in increasing else None, None)] * part.shape[1]
    start = np.zeros(design.shape[1] + 1)
    found = minimize(loss, start, jac=True, bounds=[*bounds, (None, None)], method="L-BFGS-B")
    intercept, curves = float(found.x[-1]), {}
    for name, part, rises in zip(numbers, ramps, np.split(found.x[:-1], ends[:-1]), strict=True):
        # Of an average network every curve is 0.
        middle = float((part @ rises).mean())
        heights = np.concatenate([[0.0], np.cumsum(rises)]) - middle
        intercept += middle
        curves[str(name)] = Curve(tuple(_short(knots[name])), tuple(_short(heights)))
    return AdditiveModel(_short([intercept])[0], curves)


def _knots(values: Array) -> Array:
    return np.unique(_short(np.quantile(values, np.linspace(0, 1, KNOTS))))


def _ramps(values: Array, knots: Array) -> Array:
    """[networks, knots − 1]: how far each value has come from a knot to the next, in [0, 1]."""
    return np.clip((values[:, None] - knots[:-1]) / np.diff(knots), 0, 1)


def _short(values: Sequence[float] | Array) -> list[float]:
    return [float(f"{value:.4g}") for value in values]


def sample(names: Sequence[str] = SAMPLES) -> pd.DataFrame:
    """Networks whose activations are finite: their numbers, ``trains`` and ``good``."""
    parts = []
    for name in names:
        labels = pd.read_csv(FOLDER / f"trained_{name}_digits.csv").assign(sample=name)
        labels["trains"] = labels["accuracy"] > TRAINS
        labels["good"] = labels["accuracy"] > labels["accuracy"].max() - 0.1
        parts.append(labels.merge(pd.read_csv(FOLDER / f"scores_{name}_digits.csv"), on="index"))
    table = pd.concat(parts, ignore_index=True)
    finite = np.isfinite(table[list(NUMBERS)].to_numpy(float)).all(axis=1)
    return table.iloc[np.flatnonzero(finite)].reset_index(drop=True)


def doubled() -> tuple[pd.DataFrame, Mask]:
    """Numbers and labels of *rank*: some networks by the best optimizer and by plain SGD."""
    first = sample(RANKED)
    by_sgd = pd.read_csv(FOLDER / "trained_sgd_tuning_digits.csv").set_index("index")["accuracy"]
    again = first[first["sample"] == "tuning"]
    trains_by_sgd = again["index"].map(by_sgd).fillna(0.0) > TRAINS
    numbers = pd.concat([first[list(NUMBERS)], again[list(NUMBERS)]], ignore_index=True)
    return numbers, np.concatenate([first["trains"].to_numpy(), trains_by_sgd.to_numpy()])


def cross_validated(table: pd.DataFrame) -> Array:
    """Log-odds of each network by a model that has not seen it."""
    numbers, trains = table[list(NUMBERS)], table["trains"].to_numpy()
    found = np.empty(len(table))
    for seen, unseen in StratifiedKFold(10, shuffle=True, random_state=0).split(numbers, trains):
        model = fit(numbers.iloc[seen], trains[seen])
        found[unseen] = log_odds(numbers.iloc[unseen], model)
    return found


def thresholds(table: pd.DataFrame, probability: Array) -> pd.DataFrame:
    """What each least probability would condemn."""
    trains, good = table["trains"].to_numpy(), table["good"].to_numpy()
    mediocre = trains & ~good
    rows = []
    for least in LEAST_PROBABILITIES:
        condemned = probability < least
        rows.append(
            {
                "least probability": least,
                "untrainable caught": f"{(condemned & ~trains).sum()} of {(~trains).sum()}",
                "good lost": f"{(condemned & good).sum()} of {good.sum()}",
                "mediocre lost": f"{(condemned & mediocre).sum()} of {mediocre.sum()}",
            }
        )
    return pd.DataFrame(rows)


def figure(model: AdditiveModel, numbers: pd.DataFrame) -> go.Figure:
    """The curves, with marks where the networks of the sample lie."""
    figure = make_subplots(rows=1, cols=len(model.curves), shared_yaxes=True)
    bottom = min(min(curve.heights) for curve in model.curves.values()) - 0.5
    for column, (name, curve) in enumerate(model.curves.items(), start=1):
        figure.add_scatter(x=curve.knots, y=curve.heights, mode="lines", row=1, col=column)
        figure.add_scatter(
            x=numbers[name],
            y=np.full(len(numbers), bottom),
            mode="markers",
            marker={"symbol": "line-ns-open", "size": 7, "opacity": 0.3},
            row=1,
            col=column,
        )
        figure.update_xaxes(title=AXES[name], row=1, col=column)
    figure.update_yaxes(title="log-odds, nats", row=1, col=1)
    figure.update_traces(line_color="#0072b2", marker_color="#0072b2")
    return figure.update_layout(
        width=1200,
        height=300,
        margin={"t": 10, "b": 10, "l": 10, "r": 10},
        showlegend=False,
        template="simple_white",
    )


def both(numbers: pd.DataFrame, trains: Mask) -> dict[str, AdditiveModel]:
    """By all numbers, and without the one that tokens lack."""
    without = numbers.drop(columns="response")
    return {"all": fit(numbers, trains), "without response": fit(without, trains)}


def main() -> None:
    """Fit, write and tell."""
    table = sample()
    numbers, trains = table[list(NUMBERS)], table["trains"].to_numpy()
    path = Path(profile_numbers.__file__).with_name("trainability.json")
    shipped = {"judge": both(numbers, trains), "rank": both(*doubled())}
    plain_types = {
        question: {name: each.to_dict() for name, each in models.items()}
        for question, models in shipped.items()
    }
    path.write_text(json.dumps(plain_types, indent=1) + "\n", encoding="utf-8")
    unseen = cross_validated(table)
    plain = table["family"].isin(["plain MLP", "plain CNN"]).to_numpy()
    text = "\n\n".join(
        [
            "# The curves of `TrainabilityRule`",
            f"Fitted to {len(table)} networks ({', '.join(SAMPLES)}), {trains.sum()} of which "
            "train. By models that have not seen the network (ten folds), AUROC "
            f"{float(auroc(trains, unseen)):.3f}, on plain networks "
            f"{float(auroc(trains[plain], unseen[plain])):.3f}; what is condemned:",
            markdown(thresholds(table, expit(unseen))),
            "![The five curves](curves.png)",
        ]
    )
    (FOLDER / "results_fit.md").write_text(text + "\n", encoding="utf-8")
    figure(shipped["judge"]["all"], numbers).write_image(FOLDER / "curves.png", scale=1.5)
    print(text)


if __name__ == "__main__":
    main()
