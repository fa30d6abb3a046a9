"""What is found, and what every rank does about it."""

from __future__ import annotations

from typing import Literal, NamedTuple

from recent_prune.probe import ProbeResult
from recent_prune.rules import Verdict

Action = Literal["train", "prune", "stop", "warn", "raise"]


class Outcome(NamedTuple):
    """What every rank does.

    Attributes:
        verdict: Of the rule.
        result: Of the probe, where there is no trial to hold it.
        metrics: For the loggers.
        action: What follows.
        unseen: Why there were no first steps.
        fault: Why there was no verdict.
    """

    verdict: Verdict
    result: ProbeResult | None
    metrics: dict[str, float]
    action: Action
    unseen: str | None = None
    fault: str | None = None
