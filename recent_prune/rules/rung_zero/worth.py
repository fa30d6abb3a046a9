"""What a ranking is worth in this sweep, by the trainings of the sweep itself.

A ranking that was learnt elsewhere need not hold here. Of any two trainings the one whose candidate
had the better score should end better; where it does no more often than not, the ranking says
nothing, and more candidates are trained until it says nothing about all of them. That costs
nothing: no candidate need be trained for it. What following the ranking was *worth* is another
question, which only candidates that were drawn at random answer.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

Order = tuple[float, ...]
"""What a training came to, comparable with others of its sweep: higher is better."""

EXPECTED = 0.7
"""Probability that of two trainings the one with the better score ends better, before anything is
known of a sweep: 0.57 to 0.84 among those that ranked first, in the spaces of
``benchmarks/compute_saved``."""

SPREAD = 0.15
"""Standard deviation of that between sweeps, so that a dozen trainings weigh as much."""

ENOUGH = 0.6
"""Probability from which on the ranking is followed in full."""


LATEST = 200
"""Trainings before it that each is compared with by its score, so that one of ten thousand takes no
longer; by so many, a ranking without meaning is known to within 0.02."""


class Training(NamedTuple):
    """One that has ended.

    Attributes:
        score: Of its candidate, higher is better.
        order: What it came to.
        first: Whether its candidate ranked first, or was drawn from the others.
    """

    score: float
    order: Order
    first: bool


@dataclass(frozen=True)
class Worth:
    """How well score and end go together.

    Attributes:
        first: Trainings of candidates that ranked first.
        others: Trainings of others, drawn at random.
        superiority: Probability that one of the first ends better than one of the others, ties
            count half: 0.5 where the ranking says nothing. NaN without either.
        error: Standard error of it where the ranking says nothing (Mann and Whitney, 1947).
        concordance: Probability that of two trainings the one with the better score ends better,
            ties count half: 0.5 where the ranking says nothing. NaN of fewer than two.
    """

    first: int
    others: int
    superiority: float = math.nan
    error: float = math.inf
    concordance: float = math.nan

    @property
    def expected(self) -> float:
        """The concordance to go by: of this sweep and of earlier ones, each by its precision.

        Where the ranking says nothing that of n trainings has a variance of
        (2n + 5) / (18 n (n − 1)) (Kendall, 1938).
        """
        if not math.isfinite(self.concordance):
            return EXPECTED
        count = self.first + self.others
        known, own = SPREAD**-2, 18 * count * (count - 1) / (2 * count + 5)
        return (known * EXPECTED + own * self.concordance) / (known + own)


class Comparison:
    """Trainings, compared with each other as they end, each in a time that hardly grows.

    Args:
        trainings: Those that have ended already.
    """

    def __init__(self, trainings: Iterable[Training] = ()) -> None:
        self._latest: deque[Training] = deque(maxlen=LATEST)
        self._first: list[Order] = []  # of candidates that ranked first, the worst in front
        self._others: list[Order] = []
        self._won = 0.0  # pairs in which the one that ranked first is better; ties count half
        self._pairs = 0  # that were compared by their scores
        self._agree = 0.0  # of these, where the better score ended better; ties count half
        for one in trainings:
            self.add(one)

    def add(self, new: Training) -> None:
        """Take in a training that has ended."""
        own, against = (self._first, self._others) if new.first else (self._others, self._first)
        better_than = (bisect_left(against, new.order) + bisect_right(against, new.order)) / 2
        self._won += better_than if new.first else len(against) - better_than
        insort(own, new.order)
        self._pairs += len(self._latest)
        self._agree += sum(_agreement(new, other) for other in self._latest)
        self._latest.append(new)

    def worth(self) -> Worth:
        """How they compare so far."""
        first, others = len(self._first), len(self._others)
        agree = self._agree / self._pairs if self._pairs else math.nan
        if not first or not others:
            return Worth(first, others, concordance=agree)
        error = math.sqrt((first + others + 1) / (12 * first * others))
        return Worth(first, others, self._won / (first * others), error, agree)


def _agreement(one: Training, other: Training) -> float:
    if one.score == other.score or one.order == other.order:
        return 0.5
    return float((one.score > other.score) == (one.order > other.order))


def turned_down(keep: float, found: Worth) -> float:
    """The share to keep where a ranking is worth that: from ``keep`` to 1, where it says nothing.

    Args:
        keep: Where the ranking holds.
        found: What it is worth in this sweep.

    Returns:
        ``keep ** trust``, with a trust that falls from 1 to 0 as the expected concordance falls
        from 0.6 to 0.5.
    """
    trust = (found.expected - 0.5) / (ENOUGH - 0.5)
    return float(keep ** min(max(trust, 0.0), 1.0))
