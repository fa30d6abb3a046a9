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
    """

    verdict: Verdict
    rule: PreflightRule
    result: PreflightResult

    @classmethod
    def of(cls, result: PreflightResult, limits: Limits, room: Room | None) -> Fit:
        """The verdict within limits, of which ``room`` is the memory."""
        rule = PreflightRule.within(limits, room)
        return cls(rule(result), rule, result)

    def verdict_after(self, probed: ProbeResult, verdict: Verdict) -> Verdict:
        """That of the probe, or that the trial is too slow, now that its steps were timed."""
        return after(self.rule, self.result, probed, verdict)


def after(
    rule: PreflightRule, result: PreflightResult, probed: ProbeResult, verdict: Verdict
) -> Verdict:
    """The verdict of both, when first steps have told how long a step takes.

    Args:
        rule: That judged the preflight.
        result: Of the preflight.
        probed: After the first steps, if there were any.
        verdict: On what was probed.
    """
    if not verdict.trainable:
        return verdict
    known = rule(result.refined(probed) if probed.steps and probed.steps.step_seconds else result)
    if known.cause == Cause.TOO_SLOW:
        return known
    # Where it is placed is worth saying of what is trained.
    return replace(verdict, advice=verdict.advice or known.advice)
