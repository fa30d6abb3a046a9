"""Who decides on trials that were probed, and what it is told of the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from recent_prune.ray.judging.ending import Ending
from recent_prune.ray.judging.outcome import Outcome


@dataclass(frozen=True)
class Situation:
    """What the gate knows when it asks.

    Attributes:
        outcomes: What was decided before, by trial, in that order.
        endings: From a metric to what the run's trials came to, by trial.
        ended: How many of the run's trials are over.
        wanted: Whether a trial that is let go is started at once, as far as can be known.
        overdue: Whether workers have had nothing to do for too long.
        settled: Whether no trial is being probed, or about to be.
        last: Whether no other trial will come before those that wait are decided on.
        together: Whether all that are to start must do so at once.
    """

    outcomes: Mapping[str, Outcome]
    endings: Callable[[str], Mapping[str, Ending]]
    ended: int
    wanted: bool
    overdue: bool
    settled: bool
    last: bool
    together: bool


class Decisions(Protocol):
    """Decides on what was probed by what else the run has seen."""

    @property
    def waiting(self) -> set[str]:
        """Trials that were probed and are not decided on."""

    def decide(self, outcomes: Sequence[Outcome], now: Situation) -> list[Outcome]:
        """Those that are decided on now.

        Args:
            outcomes: Of probes that have come since.
            now: Of the run.
        """

    def recall(self, outcomes: Mapping[str, Outcome]) -> None:
        """Take notice of what an earlier run decided, by trial."""

    def forget(self, trial_id: str) -> None:
        """A trial is gone."""

    def study(self) -> dict[str, Any]:
        """What an audit needs, as JSON takes it."""
