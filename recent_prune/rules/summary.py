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
    "retained",
    "relative_entropy",
    "cutoff",
    "depth",
    "seconds",
)
"""Names of what `summary` gives."""


def summary(result: ProbeResult, verdict: Verdict) -> dict[str, Scalar]:
    """Result and verdict as plain scalars, which every storage and every logger takes.

    Returns:
        ``trainable`` and ``violation`` (graded, ≤ 0 where trainable); ``reason``, one sentence;
        at the deepest layer ``retained``, the share of the input's variance recovered from it, and
        ``relative_entropy`` in nats (None if not finite); ``cutoff``, the number of layers before
        the profile saturates; ``depth``, the number of probed layers; ``seconds`` of the probe.
    """
    entropy = result.relative_entropy[-1]
    return {
        "trainable": verdict.trainable,
        "violation": verdict.violation,
        "reason": verdict.reason,
        "retained": result.retained[-1],
        "relative_entropy": float(f"{entropy:.4g}") if math.isfinite(entropy) else None,
        "cutoff": result.cutoff,
        "depth": result.depth,
        "seconds": result.seconds,
    }
