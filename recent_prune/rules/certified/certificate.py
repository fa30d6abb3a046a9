"""How many good trials are lost by pruning, with a guarantee: two bounds, and a policy for each.

A trial is *condemned* where its score lies below a threshold, and *good* where its final value
would satisfy the user. The rate that is controlled is that of good trials which are pruned, among
all good trials.

**Before the study** (`calibrated_threshold`): from the scores of good trials that finished, the
greatest threshold whose rate is at most α with confidence 1 − δ. It rests on these trials and
those to come being exchangeable.

**During the study** (`certificate`), resting on nothing but the coin: whatever the sampler, the
score or the threshold do, a condemned trial runs all the same with a known probability ρ. As long
as no such audit turns out good, the good trials that were pruned satisfy, at all times at once and
with probability 1 − δ,

    Σ wᵢ < ln(1/δ),    wᵢ = −ln(1 − ρᵢ)                                     (Ville's inequality),

since the product of 1/(1 − ρᵢ) over pruned good trials, times 0 as soon as an audited one is good,
is a non-negative martingale that starts at 1. With G good trials seen, a tolerance α leaves a
budget of b = α/(1 − α) · G trials that may be lost. Auditing with ρ = 1 − δ^(1/b) makes wᵢ =
ln(1/δ)/bᵢ, so that Σ 1/bᵢ < 1 and, b never falling, fewer than b are lost. A good trial among the
audited ones ends a *phase*: what the phase may have lost is written off the budget, and the next
phase has half of its δ, so that all phases together keep the confidence.

Sources: Wilks 1941 (tolerance limits), which Learn then Test (Angelopoulos, Bates, Candès, Jordan
and Lei, arXiv 2110.01052) gives for a monotone loss by testing in a fixed sequence; Ville 1939;
Waudby-Smith and Ramdas, arXiv 2010.09686 (betting).
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.special import bdtr


def calibration_trials(tolerance: float, confidence: float, lost: int = 0) -> int:
    """Good trials needed to certify a rate, with so many of them lost.

    Without any lost: 59, 299 and 2,995 for 5, 1 and 0.1 % at 95 %.
    """
    check_rates(tolerance, confidence)
    trials = math.ceil(math.log1p(-confidence) / math.log1p(-tolerance))
    while bdtr(lost, trials, tolerance) > 1 - confidence:
        trials += 1
    return trials


def calibrated_threshold(
    good_scores: Sequence[float], tolerance: float, confidence: float
) -> float:
    """The greatest threshold below which at most a share of good trials lies, with confidence.

    Args:
        good_scores: Of good trials that took no part in making the score.
        tolerance: α, the share of good trials that may be lost.
        confidence: 1 − δ.

    Returns:
        Condemn scores strictly below it; −inf (condemn nothing) with too few trials.
    """
    check_rates(tolerance, confidence)
    scores = np.sort(np.asarray(good_scores, dtype=float))
    # The p-value of "losing k of n, the rate is above α" is P(Binomial(n, α) ≤ k), growing in k.
    k = np.arange(len(scores))
    certified = np.flatnonzero(bdtr(k, len(scores), tolerance) <= 1 - confidence)
    return float(scores[certified[-1]]) if len(certified) else -math.inf


@dataclass(frozen=True)
class Record:
    """What became of a trial, in the order in which trials were judged.

    Attributes:
        share: The probability with which it ran though condemned; None where not condemned.
        ran: Whether it was run.
        good: Whether it turned out good; None if it did not run, or has not ended.
    """

    share: float | None
    ran: bool
    good: bool | None


@dataclass(frozen=True)
class Certificate:
    """Where a study stands.

    Attributes:
        good: Good trials seen.
        found: Good trials among the audited ones.
        pruned: Condemned trials that did not run.
        lost: Upper bound on the good ones among them.
        budget: Good trials that may still be lost.
        level: δ of the current phase.
    """

    good: int
    found: int
    pruned: int
    lost: int
    budget: float
    level: float

    @property
    def rate(self) -> float:
        """Upper bound on the rate of good trials lost, at all times at once."""
        return self.lost / (self.lost + self.good) if self.lost else 0.0

    def share(self, floor: float) -> float:
        """The probability with which the next condemned trial must run, at least ``floor``."""
        if self.budget <= 0:
            return 1.0
        return max(floor, -math.expm1(math.log(self.level) / self.budget))


class Tally:
    """Counts records, one after the other."""

    def __init__(self, tolerance: float, confidence: float) -> None:
        check_rates(tolerance, confidence)
        self._tolerance = tolerance
        self._level = (1 - confidence) / 2
        self._good = self._found = self._pruned = self._written_off = 0
        self._weights: list[float] = []  # of trials pruned in this phase, the smallest first

    def __copy__(self) -> Self:
        other = type(self)(self._tolerance, 0.5)
        other.__dict__.update(self.__dict__, _weights=[*self._weights])
        return other

    def add(self, record: Record) -> None:
        """Count one more."""
        self._good += bool(record.good)
        if record.share is None:
            return
        if not record.ran:
            self._pruned += 1
            insort(self._weights, -math.log1p(-record.share))
        elif record.good and record.share < 1:
            self._found += 1
            self._written_off += _lost_at_most(self._weights, self._level)
            self._weights, self._level = [], self._level / 2

    def certificate(self) -> Certificate:
        """What the records so far certify."""
        lost = self._written_off + _lost_at_most(self._weights, self._level)
        budget = self._tolerance / (1 - self._tolerance) * self._good - self._written_off
        return Certificate(self._good, self._found, self._pruned, lost, budget, self._level)


def _lost_at_most(weights: Sequence[float], level: float) -> int:
    """How many of the pruned trials of a phase can have been good: Σ wᵢ < ln(1/δ).

    Args:
        weights: wᵢ, the smallest first.
        level: δ of the phase.
    """
    total, bound = 0.0, -math.log(level)
    for count, weight in enumerate(weights):
        total += weight
        if total >= bound:
            return count
    return len(weights)


def check_rates(tolerance: float, confidence: float) -> None:
    """Check that both lie in (0, 1).

    Raises:
        ValueError: If one does not.
    """
    for name, value in (("max_false_prune_rate", tolerance), ("confidence", confidence)):
        if not 0 < value < 1:
            raise ValueError(f"`{name}` must lie in (0, 1), but got {value}.")
