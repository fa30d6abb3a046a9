"""Rules: a probe's result in, a verdict out. Plain numbers, no framework."""

from recent_prune.rules.preflight import PreflightRule
from recent_prune.rules.ranking import Ranking
from recent_prune.rules.saturation import SaturationRule
from recent_prune.rules.summary import SUMMARY, Scalar, summary
from recent_prune.rules.trainability import TrainabilityRule
from recent_prune.rules.verdict import MAX_VIOLATION, Cause, Rule, Verdict

__all__ = [
    "MAX_VIOLATION",
    "SUMMARY",
    "Cause",
    "PreflightRule",
    "Ranking",
    "Rule",
    "SaturationRule",
    "Scalar",
    "TrainabilityRule",
    "Verdict",
    "summary",
]
