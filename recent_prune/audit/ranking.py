"""What rung zero was worth: those that ranked first against those that were trained at random."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from scipy import stats

from recent_prune.notebook import audit_html
from recent_prune.rules.rung_zero import Comparison, Order, Training, Worth

CONFIDENCE = 0.95

ENOUGH = 5
"""Trainings of either kind from which on a difference of means is told: of fewer, Welch's interval
is too narrow as soon as some are at chance and the others are good."""


@dataclass(frozen=True)
class RankedTrial:
    """A candidate of rung zero.

    Attributes:
        number: Of its trial.
        condemned: Whether it was pruned whatever it ranked.
        best: Whether it went on because it ranked first.
        explored: Whether it went on at random.
        displaced: Whether it ranked first, and another one was drawn in its place.
        failed: Whether its training failed, and so has come to nothing.
        keep: The share that was to go on when it came.
        score: By which it was ranked.
        order: What its training came to, as :class:`Comparison` compares
            it; None while unknown.
        value: Of a training that came to its end; None otherwise.
        seconds: Of its training.
        probe_seconds: Of its probe.
    """

    number: int
    condemned: bool
    best: bool
    explored: bool
    keep: float
    score: float
    order: Order | None = None
    value: float | None = None
    seconds: float = 0.0
    probe_seconds: float = 0.0
    displaced: bool = False
    failed: bool = False

    @property
    def trained(self) -> bool:
        """Whether it was to be trained."""
        return not self.condemned and (self.best or self.explored)


@dataclass(frozen=True)
class RankingAudit:
    """The audit of rung zero in a study.

    Attributes:
        summary: A line a figure: ``figure``, ``value``, and the ``assumption`` it rests on.
        over_time: A line a candidate: ``number``, ``condemned``, ``trained``, ``explored``,
            ``keep``; and of the study up to it ``first`` and ``others`` (trainings that have
            ended), ``superiority`` (NaN while there is none of either) and ``concordance`` (NaN
            while there are fewer than two), see :class:`Worth`.
        worth: Of the ranking, in the end.
        difference: Mean value of those that ranked first minus that of a candidate at random; NaN
            with fewer than five trainings of either kind.
        interval: Of it, with 95 % confidence (Welch, approximate below some twenty at random); NaN
            where no training differs from the others of its kind.
    """

    summary: pd.DataFrame
    over_time: pd.DataFrame
    worth: Worth
    difference: float
    interval: tuple[float, float]

    _repr_html_ = audit_html


def audited_ranking(trials: Sequence[RankedTrial], *, maximize: bool) -> RankingAudit:
    """Audit what rung zero did.

    Args:
        trials: All candidates, in order; at least one.
        maximize: Whether high values are better.
    """
    first: list[RankedTrial] = []
    others: list[RankedTrial] = []
    compared = Comparison()
    rows = []
    for trial in trials:
        if trial.trained and trial.order is not None:
            (first if trial.best else others).append(trial)
            compared.add(Training(trial.score, trial.order, first=trial.best))
        rows.append(_row(trial, compared.worth()))
    found = compared.worth()
    difference, low, high = _difference(trials, first, others)
    summary = _summary(trials, found, (difference, low, high), maximize)
    return RankingAudit(summary, pd.DataFrame(rows), found, difference, (low, high))


def _row(trial: RankedTrial, found: Worth) -> dict[str, object]:
    return {
        "number": trial.number,
        "condemned": trial.condemned,
        "trained": trial.trained,
        "explored": trial.explored,
        "keep": trial.keep,
        "first": found.first,
        "others": found.others,
        "superiority": found.superiority,
        "concordance": found.concordance,
    }


def _difference(
    trials: Sequence[RankedTrial], first: Sequence[RankedTrial], others: Sequence[RankedTrial]
) -> tuple[float, float, float]:
    """Of means, with Welch's interval.

    A candidate at random is one of the first, or one of the others, as often as there were such:
    its mean is that of the two groups, weighted by their sizes among all candidates.
    """
    one, other = (
        [t.value for t in group if t.value is not None and math.isfinite(t.value)]
        for group in (first, others)
    )
    if min(len(one), len(other)) < ENOUGH:
        return math.nan, math.nan, math.nan
    fine = [trial for trial in trials if not trial.condemned]
    share = sum(not (trial.best or trial.displaced) for trial in fine) / len(fine)
    means = sum(one) / len(one) - sum(other) / len(other)
    if len(set(one)) == len(set(other)) == 1:  # nothing varies, as far as is known
        return share * means, math.nan, math.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # where one of them does not
        interval = stats.ttest_ind(one, other, equal_var=False).confidence_interval(CONFIDENCE)
    return share * means, share * float(interval.low), share * float(interval.high)


def _summary(
    trials: Sequence[RankedTrial],
    found: Worth,
    difference: tuple[float, float, float],
    maximize: bool,
) -> pd.DataFrame:
    trained = [trial for trial in trials if trial.trained]
    stopped = [trial for trial in trials if not trial.trained and not trial.condemned]
    took = pd.Series([t.seconds for t in trained if t.value is not None], dtype=float)
    saved = float(took.median()) * len(stopped) if len(took) else 0.0
    better = "higher" if maximize else "lower"
    middle, low, high = (_told(value) for value in difference)
    if math.isfinite(difference[0]) and not math.isfinite(difference[1]):
        low = high = "unknown: nothing varies"
    wide = f"with {CONFIDENCE:.0%} confidence (Welch; less where few were drawn at random)"
    lines: list[tuple[str, object, str]] = [
        ("candidates", len(trials), ""),
        ("condemned", sum(trial.condemned for trial in trials), ""),
        ("stopped by their rank", len(stopped), ""),
        ("trained: ranked first", sum(trial.best for trial in trained), ""),
        ("trained: at random", sum(not trial.best for trial in trained), "drawn from the others"),
        *_failed(trained),
        ("first ranked minus random", middle, f"mean value, {better} is better"),
        ("at least", low, wide),
        ("at most", high, wide),
        (
            "a first ranked one is better with probability",
            _told(found.superiority),
            "0.5 where the ranking says nothing"
            + (f", then ± {found.error:.3g}" if math.isfinite(found.error) else ""),
        ),
        (
            "the better score ends better with probability",
            _told(found.concordance),
            "of two trainings; 0.5 where the ranking says nothing",
        ),
        ("share that is kept now", f"{trials[-1].keep:.3g}", "rises where the ranking fails"),
        ("seconds spent on probes", f"{sum(t.probe_seconds for t in trials):.1f}", "wall clock"),
        ("seconds spent on trainings", f"{sum(t.seconds for t in trained):.1f}", "wall clock"),
        ("seconds saved", f"{saved:.1f}", "one that was stopped would have taken the median"),
    ]
    return pd.DataFrame(lines, columns=["figure", "value", "assumption"])


def _failed(trained: Sequence[RankedTrial]) -> list[tuple[str, object, str]]:
    """A line where trainings failed, which nothing else here knows of."""
    failed = [trial for trial in trained if trial.failed]
    if not failed:
        return []
    first = sum(trial.best for trial in failed)
    told = f"{first} that ranked first, {len(failed) - first} at random"
    return [("trained, and failed", told, "not counted: give a bad value where one diverges")]


def _told(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "unknown: too few have ended"
