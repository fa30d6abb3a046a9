"""What a ranking is worth in this sweep, by the trainings of the sweep itself.

A ranking that was learnt elsewhere need not hold here. A known share of the candidates that stood
too low is trained all the same, at random; if those end as well as the ones that ranked first, the
ranking says nothing, and more candidates are trained until it says nothing about all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

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


def worth(first: Sequence[Order], others: Sequence[Order]) -> Worth:
    """Compare two groups of trainings by what they came to.

    Args:
        first: Of candidates that ranked first.
        others: Of candidates that were drawn from the others.
    """
    if not first or not others:
        return Worth(len(first), len(others))
    places = {order: place for place, order in enumerate(sorted({*first, *others}))}
    one, other = (np.asarray([places[order] for order in group]) for group in (first, others))
    above = (one[:, None] > other).mean() + (one[:, None] == other).mean() / 2
    error = math.sqrt((len(one) + len(other) + 1) / (12 * len(one) * len(other)))
    return Worth(len(one), len(other), float(above), error)


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
