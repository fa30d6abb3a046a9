"""Does a trial fit, judged before it is probed, and does it end in time, after its first steps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from recent_prune.rules.preflight import PreflightRule
from recent_prune.rules.verdict import Cause, Verdict

if TYPE_CHECKING:
    from recent_prune.preflight import Limits, PreflightResult, Room
    from recent_prune.probe import ProbeResult


@dataclass(frozen=True)
class Fit:
    """What is known of a trial's memory before it is probed.

    Attributes:
        verdict: On memory.
        rule: That judged.
        result: As it was estimated.
        alone: Whether the trial has the memory that is meant for itself.
    """

    verdict: Verdict
    rule: PreflightRule
    result: PreflightResult
    alone: bool = False

    @classmethod
    def of(cls, result: PreflightResult, limits: Limits, room: Room | None) -> Fit:
        """The verdict within limits, of which ``room`` is the memory."""
        rule = PreflightRule.within(limits, room)
        given = isinstance(limits.memory, (int, float))
        of_device = limits.memory == "device" and result.device != "cpu"
        return cls(rule(result), rule, result, alone=given or of_device)

    @property
    def memory(self) -> dict[str, float | None]:
        """Bytes: the ``estimate``, the ``limit``, and what is ``free`` for this trial alone.

        The last is not known where workers are unlike, or what is free is the machine's.
        """
        room = self.rule.room
        return {
            "estimate": self.result.memory.value,
            "limit": None if room is None else room.capacity,
            "free": room.free if room is not None and self.alone else None,
        }

    def after(self, probed: ProbeResult) -> PreflightResult:
        """What is known when first steps have told how long a step takes, if there were any."""
        timed = probed.steps is not None and probed.steps.step_seconds
        return self.result.refined(probed) if timed else self.result

    def verdict_after(self, probed: ProbeResult, verdict: Verdict) -> Verdict:
        """That on what was probed, or that the trial is too slow, now that its steps were timed."""
        if not verdict.trainable:
            return verdict
        known = self.rule(self.after(probed))
        if known.cause == Cause.TOO_SLOW:
            return known
        # Where it is placed is worth saying of what is trained.
        return replace(verdict, advice=verdict.advice or known.advice)
