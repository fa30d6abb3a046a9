"""A score that learns from finished trials: the probe's numbers with the hyperparameters."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit

from recent_prune.rules.profile_numbers import log_odds, profile_numbers
from recent_prune.rules.trainability import TrainabilityRule

if TYPE_CHECKING:
    from recent_prune.probe import ProbeResult

Parameters = Mapping[str, Any]
"""Hyperparameters of a trial: numbers, booleans, anything else as a category."""

Array = npt.NDArray[np.float64]

FEWEST = 10
"""Good trials, and others, below which the probe alone is the score."""

PENALTY = 1.0
"""Of a weight's square, beside a log-likelihood summed over trials: the weight of a standardized
feature is then within ±2 unless several trials speak for more."""

LOGARITHMIC = 20.0
"""A positive parameter that varies by more than this factor is taken by its logarithm."""


def probe_features(result: ProbeResult) -> dict[str, float]:
    """What a probe says of an initialization, in finite numbers.

    Returns:
        ``score``, with first steps that of :class:`TrainabilityRule`, without the log-odds of its
        verdict; ``retained``, the logarithm of the
        share at the deepest layer; ``least_retained``, that of the layer that retains least;
        ``growth``, the logarithm of the activations' root mean square, deepest over first layer;
        ``stretch``, the e-foldings by which a small perturbation grows; ``saturation``, the cutoff
        in units of the depth; ``depth``, its logarithm; ``normalized``; with gradients
        ``gradient_growth``, the logarithm of the first layer's over the last layer's.
    """
    rms, jacobian = result.activation_rms, result.jacobian_norm
    features = {
        "score": _score(result),
        "retained": _log(result.retained[-1], 1e-4),
        "least_retained": _log(min(result.retained), 1e-4),
        "growth": _log_ratio(rms[-1], rms[0]),
        "stretch": _log_ratio(jacobian[-1], jacobian[0]),
        "saturation": result.cutoff / result.depth,
        "depth": math.log(result.depth),
        "normalized": float(result.normalized),
    }
    if result.gradients is not None:
        sizes = result.gradients.gradient_rms
        features["gradient_growth"] = _log_ratio(sizes[0], sizes[-1])
    return {name: float(np.clip(value, -50.0, 50.0)) for name, value in features.items()}


def _score(result: ProbeResult) -> float:
    """As studies that were begun with version 0.1 have it, and ``benchmarks/certificate``."""
    if result.steps is not None or result.nonfinite_layer is not None:
        return TrainabilityRule.score(result)
    return log_odds(profile_numbers(result))


def _log(value: float, least: float) -> float:
    return math.log(max(value, least))


def _log_ratio(value: float, base: float) -> float:
    """0 where there is none, as for the Jacobian of tokens."""
    if not (math.isfinite(value) and math.isfinite(base)):
        return 0.0 if math.isnan(value) or math.isnan(base) else 50.0
    return math.log(max(value, 1e-30) / max(base, 1e-30))


FEATURES = (
    "score",
    "retained",
    "least_retained",
    "growth",
    "stretch",
    "saturation",
    "depth",
    "normalized",
    "gradient_growth",
)
"""Names that :func:`probe_features` may give."""

PROBE = "probe:score"

FARTHEST = 4.0
"""Standard deviations beyond which nothing is extrapolated."""

INCREASING = ("score", "retained", "least_retained")
"""Features in which the score never falls: whatever was seen, more information is no worse."""


@dataclass(frozen=True)
class LearnedScore:
    """A penalized logistic regression for "good", linear in its features.

    Numerical parameters enter with their square, since most have a best value in between; others
    with one feature a category. Weights are drawn to 0, that of the probe's score to 1 (its
    standard deviation is then worth odds of e), so that few trials leave the probe alone; those of
    `INCREASING` are never negative.

    Attributes:
        columns: What it looks at, in order: ``probe:NAME``, ``NAME``, ``NAME=CATEGORY``.
        squared: Those among them whose square counts as well.
        centers: Subtracted from the columns.
        scales: Then divided by.
        weights: Of the standardized columns, then of the squares.
        intercept: Of the log-odds.
        logarithms: Parameters that are taken by their logarithm.
        trials: That it learned from.
    """

    columns: tuple[str, ...]
    squared: tuple[str, ...]
    centers: tuple[float, ...]
    scales: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float
    logarithms: tuple[str, ...]
    trials: int

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """From the fields as JSON gives them.

        Raises:
            ValueError: If it looks at features of a probe that this version does not have.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        if set(data) != names:
            raise ValueError(f"A learned score has the fields {sorted(names)}, not {sorted(data)}.")
        unknown = {c for c in data["columns"] if c.startswith("probe:")} - {
            f"probe:{name}" for name in FEATURES
        }
        if unknown:
            raise ValueError(f"The learned score looks at {sorted(unknown)}, which no probe gives.")
        plain: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in data.items()
        }
        return cls(**plain)

    def __call__(self, features: Mapping[str, float], parameters: Parameters) -> float:
        """The log-odds of being good; what is missing counts as average."""
        row = _row(features, parameters, self.logarithms)
        values = _table([row], self.columns)
        design = _design(values, self.columns, self.squared, self.centers, self.scales)
        return self.intercept + float(design[0] @ np.array(self.weights))


def learn_score(
    features: Sequence[Mapping[str, float]],
    parameters: Sequence[Parameters],
    good: Sequence[bool],
) -> LearnedScore:
    """Learn from finished trials.

    Args:
        features: Of each, see :func:`probe_features`.
        parameters: Of each.
        good: Whether each was good.

    Returns:
        The score; with fewer than ten good trials or ten others that of the probe alone.
    """
    few = not are_enough(good)
    logarithms = () if few else _logarithms(parameters)
    rows = [_row(*known, logarithms) for known in zip(features, parameters, strict=True)]
    columns = (PROBE,) if few else tuple(sorted({name for row in rows for name in row}))
    table = _table(rows, columns)
    centers = table.sum(axis=0) / max(len(rows), 1) if few else np.nanmean(table, axis=0)
    scales = np.nanstd(table, axis=0) if len(rows) > 1 else np.ones(len(columns))
    scales = np.where(scales > 1e-9, scales, 1.0)
    squared = tuple(c for c in columns if not c.startswith("probe:") and "=" not in c)
    design = _design(table, columns, squared, centers, scales)
    prior = np.array([float(name == PROBE) for name in (*columns, *squared)])
    weights, intercept = (prior, 0.0) if few else _fit(design, np.array(good), columns, prior)
    return LearnedScore(
        columns=columns,
        squared=squared,
        centers=tuple(map(float, centers)),
        scales=tuple(map(float, scales)),
        weights=tuple(map(float, weights)),
        intercept=float(intercept),
        logarithms=logarithms,
        trials=len(rows),
    )


def are_enough(good: Sequence[bool]) -> bool:
    """Whether there are ten good trials and ten others to learn from."""
    return min(sum(good), len(good) - sum(good)) >= FEWEST


def _fit(
    design: Array, good: npt.NDArray[np.bool_], columns: Sequence[str], prior: Array
) -> tuple[Array, float]:
    signs = np.where(good, 1.0, -1.0)

    def loss(theta: Array) -> tuple[float, Array]:
        weights, intercept = theta[:-1], theta[-1]
        margins = signs * (design @ weights + intercept)
        pull = -signs * expit(-margins)
        value = np.logaddexp(0, -margins).sum() + 0.5 * PENALTY * ((weights - prior) ** 2).sum()
        slope = np.append(design.T @ pull + PENALTY * (weights - prior), pull.sum())
        return float(value), slope

    increasing = {f"probe:{name}" for name in INCREASING}
    bounds = [(0.0 if name in increasing else None, None) for name in columns]
    bounds += [(None, None)] * (len(prior) - len(columns) + 1)
    found = minimize(loss, np.append(prior, 0.0), jac=True, bounds=bounds, method="L-BFGS-B")
    return found.x[:-1], float(found.x[-1])


def _row(
    features: Mapping[str, float], parameters: Parameters, logarithms: Sequence[str]
) -> dict[str, float]:
    row = {f"probe:{name}": float(value) for name, value in features.items()}
    for name, value in parameters.items():
        if not _is_number(value):
            row[f"{name}={value}"] = 1.0
        elif name not in logarithms:
            row[name] = float(value)
        elif value > 0:
            row[name] = math.log(value)
    return row


def _table(rows: Sequence[Mapping[str, float]], columns: Sequence[str]) -> Array:
    """[rows, columns]; NaN where a number is missing, 0 where a category is another."""
    absent = {name: 0.0 if "=" in name else math.nan for name in columns}
    values = [[row.get(name, absent[name]) for name in columns] for row in rows]
    return np.array(values, dtype=float).reshape(len(rows), len(columns))


def _design(
    table: Array,
    columns: Sequence[str],
    squared: Sequence[str],
    centers: Sequence[float] | Array,
    scales: Sequence[float] | Array,
) -> Array:
    """Standardized columns, then the squares; what is far outside counts as at the edge."""
    standardized = np.nan_to_num((table - np.asarray(centers)) / np.asarray(scales))
    standardized = np.clip(standardized, -FARTHEST, FARTHEST)
    return np.hstack([standardized, standardized[:, [columns.index(c) for c in squared]] ** 2])


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def _logarithms(parameters: Sequence[Parameters]) -> tuple[str, ...]:
    """Parameters that are positive throughout and vary by orders of magnitude."""
    found = []
    for name in sorted({name for chosen in parameters for name in chosen}):
        values = [p[name] for p in parameters if name in p and _is_number(p[name])]
        if values and min(values) > 0 and max(values) > LOGARITHMIC * min(values):
            found.append(name)
    return tuple(found)
