"""What a ranking is worth in this sweep, by the trainings of the sweep itself.

A ranking that was learnt elsewhere need not hold here. A known share of the candidates that stood
too low is trained all the same, at random; if those end as well as the ones that ranked first, the
ranking says nothing, and more candidates are trained until it says nothing about all of them.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from dataclasses import dataclass

Order = tuple[float, ...]
"""What a training came to, comparable with others of its sweep: higher is better."""

EXPECTED = 0.8
"""Probability that a candidate among the best eighth ends better than another one, before anything
is known of a sweep: 0.78 to 0.90 in the spaces of ``benchmarks/compute_saved``."""

SPREAD = 0.2
"""Standard deviation of that between sweeps: wide, so that a few dozen trainings weigh as much."""

ENOUGH = 0.65
"""Probability from which on the ranking is followed in full."""


@dataclass(frozen=True)
class Worth:
    """How those that ranked first compare with those that were trained at random.

    Attributes:
        first: Trainings of candidates that ranked first.
        others: Trainings of others, drawn at random.
        superiority: Probability that one of the first ends better than one of the others, ties
            count half: 0.5 where the ranking says nothing. NaN without either.
        error: Standard error of it where the ranking says nothing (Mann and Whitney, 1947).
    """

    first: int
    others: int
    superiority: float = math.nan
    error: float = math.inf

    @property
    def expected(self) -> float:
        """The probability to go by: of this sweep and of earlier ones, each by its precision."""
        if not math.isfinite(self.superiority):
            return EXPECTED
        known, own = SPREAD**-2, self.error**-2
        return (known * EXPECTED + own * self.superiority) / (known + own)


class Comparison:
    """Two groups of trainings, compared as they end, each in a time that hardly grows."""

    def __init__(self) -> None:
        self._first: list[Order] = []  # of candidates that ranked first, the worst in front
        self._others: list[Order] = []
        self._won = 0.0  # pairs in which the one that ranked first is better; ties count half

    def add(self, order: Order, *, first: bool) -> None:
        """Take in a training that has ended.

        Args:
            order: What it came to.
            first: Whether its candidate ranked first, or was drawn from the others.
        """
        own, against = (self._first, self._others) if first else (self._others, self._first)
        better_than = (bisect_left(against, order) + bisect_right(against, order)) / 2
        self._won += better_than if first else len(against) - better_than
        insort(own, order)

    def worth(self) -> Worth:
        """How the two compare so far."""
        first, others = len(self._first), len(self._others)
        if not first or not others:
            return Worth(first, others)
        error = math.sqrt((first + others + 1) / (12 * first * others))
        return Worth(first, others, self._won / (first * others), error)


def worth(first: Iterable[Order], others: Iterable[Order]) -> Worth:
    """Compare two groups of trainings by what they came to.

    Args:
        first: Of candidates that ranked first.
        others: Of candidates that were drawn from the others.
    """
    compared = Comparison()
    for group, ranked_first in ((first, True), (others, False)):
        for order in group:
            compared.add(order, first=ranked_first)
    return compared.worth()


def turned_down(keep: float, found: Worth) -> float:
    """The share to keep where a ranking is worth that: from ``keep`` to 1, where it says nothing.

    Args:
        keep: Where the ranking holds.
        found: What it is worth in this sweep.

    Returns:
        ``keep ** trust``, with a trust that falls from 1 to 0 as the expected probability falls
        from 0.65 to 0.5.
    """
    trust = (found.expected - 0.5) / (ENOUGH - 0.5)
    return float(keep ** min(max(trust, 0.0), 1.0))
