"""What a rule says of one trial."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from recent_prune.notebook import verdict_html

if TYPE_CHECKING:
    from recent_prune.probe import ProbeResult


class Cause(StrEnum):
    """Why a trial is condemned; the one list of causes."""

    LOST = "lost"
    """Too little of the input arrives at the deepest layer."""
    EXPLODED = "exploded"
    """Activations are so large that no step helps."""
    DEAD = "dead"
    """No gradient arrives at the parameters."""
    NONFINITE = "non-finite"
    """Activations, a loss or a gradient are NaN or infinite."""
    DIVERGES = "diverges"
    """The first steps lead away: the learning rate is too large."""
    STALLS = "stalls"
    """The first steps lead nowhere within the budget: the learning rate is too small."""
    TOO_LARGE = "too_large"
    """One training step takes more memory than there is."""
    TOO_SLOW = "too_slow"
    """The full training takes more time than there is."""
    UNLIKELY = "unlikely"
    """Few trials with such numbers have trained, and no single number says why."""


MAX_VIOLATION = 1.0
"""The violation of a trial that could not be worse, such as one that gives NaN."""


@dataclass(frozen=True)
class Verdict:
    """Whether a trial can train, by how much, and why.

    Attributes:
        trainable: False for a trial that is to be pruned.
        violation: A graded signal for samplers that know constraints, in [−1, 1]: positive where
            the trial is condemned (1 is worst), otherwise ≤ 0. Always finite.
        reason: One sentence for a person.
        cause: Why it is condemned, or None.
        advice: One sentence on what to change, where something is known; never a reason to condemn.

    Raises:
        ValueError: If ``violation`` is out of its range or contradicts ``trainable``.
    """

    trainable: bool
    violation: float
    reason: str
    cause: Cause | None = None
    advice: str | None = None

    _repr_html_ = verdict_html

    def __post_init__(self) -> None:
        # A rule may have computed in NumPy, whose numbers most storages refuse.
        object.__setattr__(self, "trainable", bool(self.trainable))
        object.__setattr__(self, "violation", float(self.violation))
        if not math.isfinite(self.violation) or abs(self.violation) > MAX_VIOLATION:
            raise ValueError(f"`violation` must lie in [-1, 1], but got {self.violation}.")
        if self.trainable != (self.violation <= 0):
            raise ValueError(
                "`violation` must be ≤ 0 where trainable and positive elsewhere, but got "
                f"{self.violation} with trainable={self.trainable}."
            )


Rule = Callable[["ProbeResult"], Verdict]
"""Any function from a probe's result to a verdict; the rules of this package are such."""


def nonfinite_verdict(result: ProbeResult) -> Verdict | None:
    """The verdict on activations that are NaN or infinite, None if all are finite."""
    if result.nonfinite_layer is None:
        return None
    return Verdict(
        trainable=False,
        violation=MAX_VIOLATION,
        reason=f"The activations of {result.nonfinite_layer!r} are not finite.",
        cause=Cause.NONFINITE,
    )


def nonfinite_outputs(result: ProbeResult) -> list[str]:
    """What a reason tells of outputs that are not finite, in one item or none.

    They condemn nobody: what is masked is minus infinity, and padded positions may be NaN.
    """
    share = result.nonfinite_outputs
    return [f"outputs of {share:.1%} of the samples"] if share > 0 else []


def with_nonfinite(verdict: Verdict, nonfinite: Sequence[str]) -> Verdict:
    """The verdict whose reason names what is not finite, too."""
    if not nonfinite:
        return verdict
    return replace(verdict, reason=f"{verdict.reason} Not finite: {', '.join(nonfinite)}.")


def verdict_of(rule: Rule, result: ProbeResult) -> Verdict:
    """What a rule, maybe the user's, says of a result.

    Raises:
        TypeError: If that is no verdict.
    """
    verdict: object = rule(result)
    if not isinstance(verdict, Verdict):
        raise TypeError(
            f"`rule` must return a recent_prune.Verdict, but {type(rule).__name__} returned "
            f"{verdict!r}."
        )
    return verdict


def check_share(name: str, value: float) -> None:
    """Check that an argument lies in (0, 1).

    Raises:
        ValueError: If it does not.
    """
    if not 0 < value < 1:
        raise ValueError(f"`{name}` must lie in (0, 1), but got {value}.")
