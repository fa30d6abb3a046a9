"""What a rule says of one initialization."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recent_prune.probe import ProbeResult

MAX_VIOLATION = 1.0
"""The violation of an initialization that could not be worse, such as one that gives NaN."""


@dataclass(frozen=True)
class Verdict:
    """Whether an initialization can train, by how much, and why.

    Attributes:
        trainable: False for an initialization that is to be pruned.
        violation: A graded signal for samplers that know constraints, in [−1, 1]: positive where
            the initialization is condemned (1 is worst), otherwise ≤ 0. Always finite.
        reason: One sentence for a person.

    Raises:
        ValueError: If ``violation`` is out of its range or contradicts ``trainable``.
    """

    trainable: bool
    violation: float
    reason: str

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
    )


def check_share(name: str, value: float) -> None:
    """Check that an argument lies in (0, 1).

    Raises:
        ValueError: If it does not.
    """
    if not 0 < value < 1:
        raise ValueError(f"`{name}` must lie in (0, 1), but got {value}.")
