"""The few numbers by which a probe is shown in a study's table."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from recent_prune.rules.verdict import Verdict

if TYPE_CHECKING:
    from recent_prune.probe import ProbeResult

Scalar = bool | int | float | str | None


SUMMARY = (
    "trainable",
    "violation",
    "reason",
    "cause",
    "advice",
    "loss_before",
    "loss_after",
    "constant_loss",
    "retained",
    "relative_entropy",
    "cutoff",
    "depth",
    "seconds",
)
"""Names of what `summary` gives."""


def summary(result: ProbeResult | None, verdict: Verdict) -> dict[str, Scalar]:
    """Result and verdict as plain scalars, which every storage and every logger takes.

    Args:
        result: Of the probe; None where a verdict was found before it, and all its numbers are.
        verdict: On the trial.

    Returns:
        ``trainable`` and ``violation`` (graded, ≤ 0 where trainable); ``reason``, one sentence;
        ``cause``, one of :class:`Cause`, and ``advice``, one sentence, or None; of first steps
        ``loss_before``, ``loss_after`` and ``constant_loss``, that of the best constant prediction
        (None without steps, or if not finite); at the deepest layer ``retained``, the share of the
        input's variance recovered from it, and ``relative_entropy`` in nats (None if not finite);
        ``cutoff``, the number of layers before the profile saturates; ``depth``, the number of
        probed layers; ``seconds`` of the probe.
    """
    told: dict[str, Scalar] = {
        "trainable": verdict.trainable,
        "violation": verdict.violation,
        "reason": verdict.reason,
        "cause": None if verdict.cause is None else str(verdict.cause),
        "advice": verdict.advice,
    }
    if result is None:
        return {**dict.fromkeys(SUMMARY), **told}
    steps = result.steps
    return {
        **told,
        "loss_before": None if steps is None else rounded(steps.loss_before),
        "loss_after": None if steps is None else rounded(steps.loss_after),
        "constant_loss": None if steps is None else rounded(steps.constant_loss),
        "retained": result.retained[-1],
        "relative_entropy": rounded(result.relative_entropy[-1]),
        "cutoff": result.cutoff,
        "depth": result.depth,
        "seconds": result.seconds,
    }


def rounded(value: float) -> float | None:
    """A number with four digits, None of one that is not finite."""
    return float(f"{value:.4g}") if math.isfinite(value) else None
