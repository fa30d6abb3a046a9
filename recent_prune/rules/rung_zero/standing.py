"""Which of the sampled candidates are trained: a rung below the first epoch.

As in asynchronous successive halving (arXiv 1810.05934) a candidate goes on if it is among the best
share of those that were seen before it, itself included; here by a score of its first steps. Other
than there, nothing goes on before the share comes to one whole candidate: to look at 1 / share of
them costs less than to train one.
"""

from __future__ import annotations

import math
import zlib
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, NotRequired, TypedDict, TypeGuard

import numpy as np

from recent_prune.rules.trainability import TrainabilityRule
from recent_prune.rules.verdict import Rule

if TYPE_CHECKING:
    from recent_prune.probe.result import ProbeResult

Key = tuple[float, float]
"""Score, higher is better, and a number drawn for the candidate, which breaks ties."""

ROUNDING = 1e-9
"""0.3 · 10 is 3, whatever floats make of it."""

FEWEST = 4
"""At least one in so many of those that stand too low is taken to be trainable: the share of the
condemned ones is not known well in the beginning."""


def check_shares(keep: object, explore: object) -> None:
    """Refuse shares that are none.

    Raises:
        ValueError: If ``keep`` is not in (0, 1], or ``explore`` not in [0, 1).
    """
    if not _is_number(keep) or not 0 < keep <= 1:
        raise ValueError(f"`keep` must be in (0, 1], but got {keep!r}.")
    if not _is_number(explore) or not 0 <= explore < 1:
        raise ValueError(f"`explore` must be in [0, 1), but got {explore!r}.")


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, Real) and not isinstance(value, bool)


@dataclass(frozen=True)
class Standing:
    """Where a candidate stands.

    Attributes:
        rank: Among all candidates so far, 1 is the best.
        of: Candidates so far, itself included.
        gone_on: How many of the earlier ones went on by their rank.
        due: How many should have, by the shares that held when each of them came; itself included.
        barred: How many of the earlier ones could not, as they were condemned.
    """

    rank: int
    of: int
    gone_on: int
    due: float
    barred: int = 0


class Place(TypedDict):
    """Where a candidate stood, as it is stored.

    Attributes:
        rank: Among all candidates so far, when it was decided on; 1 is the best.
        of: How many these were.
        keep: Share that was to be trained then.
        best: Whether it is trained because it ranked first.
        explored: Whether it is trained at random.
        share: The probability with which it was to be; 0 of one that is condemned.
        by: Whose score it is, see :func:`scorer_of`; missing in what earlier versions stored.
        displaced: Whether it ranked first, and another one was drawn in its place; missing where
            that cannot be.
        condemned: Whether it was condemned; missing where it was not.
    """

    rank: int
    of: int
    keep: float
    best: bool
    explored: bool
    share: float
    by: NotRequired[str]
    displaced: NotRequired[bool]
    condemned: NotRequired[bool]


def chance(explore: float, keep: float, condemned: float = 0.0) -> float:
    """The probability with which a candidate that stood too low is trained all the same.

    Those that are drawn so are a share of the *trainings*, not of the candidates: a twentieth of
    all candidates would be a quarter of the trainings at ``keep`` = 1/8, and cost a third more on
    the way to a good one (``benchmarks/compute_saved/rung_zero``).

    Args:
        explore: Share of the trainings, in [0, 1).
        keep: Share of the candidates that goes on by its rank, in (0, 1].
        condemned: Share of the candidates that cannot go on; where it comes near all that stand too
            low, the few that are left are not all trained for it.
    """
    if keep >= 1:
        return float(explore > 0)
    others = max(1 - keep - condemned, (1 - keep) / FEWEST)
    return min(explore / (1 - explore) * keep / others, 1.0)


def is_stopped(place: Place) -> bool:
    """Whether it stood too low."""
    return not (place["best"] or place["explored"])


def reason(place: Place) -> str:
    """Where a candidate stood, in a sentence."""
    told = (
        f"Rank {place['rank']} of {place['of']} candidates so far by its first steps; the best "
        f"{place['keep']:.3g} of them are trained"
    )
    if place["explored"]:
        return f"{told}, and it is one at random, to see what the ranking is worth."
    return f"{told}."


def stored(number: float) -> float:
    """A number as it is stored: six digits."""
    return float(f"{number:.6g}")


def stored_score(score: float) -> float | None:
    """A score as it is stored: six digits, None if it is not finite."""
    return stored(score) if math.isfinite(score) else None


def score_of(rule: Rule, result: ProbeResult) -> float:
    """By the rule's own ``score``, if it has one; higher is better."""
    score = getattr(rule, "score", TrainabilityRule.score)(result)
    return float(score)


def scorer_of(rule: Rule) -> str:
    """Whose scores a rule ranks by: those of two rules cannot be compared."""
    return type(rule).__qualname__ if hasattr(rule, "score") else TrainabilityRule.__qualname__


def error_of(rule: Rule, result: ProbeResult) -> float | None:
    """By how much the score is expected to be wrong, as it is stored; None where nobody knows."""
    told = getattr(rule, "ranking", None)
    found = None if told is None else told(result)
    return None if found is None else stored_score(found.error)


def drawn(*key: str | int) -> float:
    """A number in [0, 1) for a key, the same in every process.

    Args:
        key: What it is drawn for, e.g. a study, a trial and a purpose.
    """
    seed = [part if isinstance(part, int) else zlib.crc32(part.encode()) for part in key]
    return float(np.random.default_rng(seed).random())


class Rung:
    """Candidates that were decided on, counted so that the next one takes no longer."""

    def __init__(self) -> None:
        self._keys: list[Key] = []  # the worst in front
        self._gone_on = self._barred = 0
        self._due = 0.0

    def add(self, key: Key, place: Place) -> None:
        """Count a candidate."""
        insort(self._keys, key)
        self._count(place, 1)

    def remove(self, key: Key, place: Place) -> None:
        """Forget a candidate that was counted, since another stands for it."""
        where = bisect_left(self._keys, key)
        if self._keys[where : where + 1] == [key]:
            del self._keys[where]
            self._count(place, -1)

    def _count(self, place: Place, times: int) -> None:
        self._gone_on += times * place["best"]
        self._barred += times * place.get("condemned", False)
        self._due += times * place["keep"]

    def standing(
        self, own: Key, share: float, others: Sequence[tuple[Key, Place]] = ()
    ) -> Standing:
        """Where another candidate stands.

        Args:
            own: Of the candidate.
            share: That is to go on now.
            others: Decided on as well, and not counted yet.
        """
        better = len(self._keys) - bisect_right(self._keys, own)
        return Standing(
            rank=1 + better + sum(key > own for key, _ in others),
            of=1 + len(self._keys) + len(others),
            gone_on=self._gone_on + sum(place["best"] for _, place in others),
            due=self._due + sum(place["keep"] for _, place in others) + share,
            barred=self._barred + sum(place.get("condemned", False) for _, place in others),
        )


def goes_on(place: Standing, keep: float) -> bool:
    """Whether a candidate is trained.

    It is among the best ⌊keep · of⌋. Where good ones came early, so that fewer than half as many
    went on as were due, it need only be among the best 2 · keep, and where fewer than a quarter
    did, nothing.

    Args:
        place: Where it stands.
        keep: Share that is to go on, in (0, 1].
    """
    due = math.floor(place.due + ROUNDING)
    if place.rank <= math.floor(keep * place.of + ROUNDING) or place.gone_on < due // 4:
        return True
    return place.gone_on < due // 2 and place.rank <= math.ceil(2 * keep * place.of)
