"""Results written by hand, for rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recent_prune.probe import ProbeResult


def result(retained: Sequence[float], **fields: Any) -> ProbeResult:
    """A result with this profile; all else is unremarkable unless given."""
    depth = len(retained)
    ones = (1.0,) * depth
    plain: dict[str, Any] = {
        "estimator": "ridge",
        "layers": tuple(f"tanh{i + 1}" for i in range(depth)),
        "relative_entropy": ones,
        "retained": tuple(retained),
        "differential_entropy": ones,
        "gram_entropy": ones,
        "activation_rms": ones,
        "relative_variance": ones,
        "jacobian_norm": ones,
        "cutoff": depth - 1,
        "input_rms": 0.5,
        "redundancy": 1.0,
        "normalized": False,
        "samples": 160,
        "seconds": 0.1,
    }
    return ProbeResult(**{**plain, **fields})
