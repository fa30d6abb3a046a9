"""What is learnt from trials that ran out of memory though they were estimated to fit."""

from __future__ import annotations

from dataclasses import replace

from recent_prune.ray.judging.outcome import Outcome
from recent_prune.rules import Scalar
from recent_prune.rules.preflight import correction, size
from recent_prune.rules.verdict import Cause


class RanOut:
    """Corrects what is estimated of later trials of a run.

    Learnt is from trials that had their memory for themselves. Where several share a device, it may
    be the others that took it.
    """

    def __init__(self) -> None:
        self._ran_out: list[Outcome] = []

    def add(self, outcome: Outcome) -> None:
        """A trial ran out of memory."""
        if outcome.memory:
            self._ran_out.append(outcome)

    def corrected(self, outcome: Outcome) -> Outcome:
        """Condemned, if it would not fit were it estimated too low by as much."""
        factor = correction((o.memory["estimate"], o.memory["free"]) for o in self._ran_out)
        estimate, limit = outcome.memory.get("estimate"), outcome.memory.get("limit")
        if factor is None or estimate is None or limit is None or outcome.condemned:
            return outcome
        needed = estimate * factor
        if needed <= limit:
            return outcome
        told = (
            f"A training step takes about {size(estimate)}, and there are {size(limit)}; but "
            f"a trial that needed more than {factor:.3g} times its estimate ran out of memory."
        )
        verdict: dict[str, Scalar] = {
            "trainable": False,
            "violation": 1 - limit / needed,
            "reason": told,
            "cause": str(Cause.TOO_LARGE),
        }
        return replace(outcome, summary={**outcome.summary, **verdict})
