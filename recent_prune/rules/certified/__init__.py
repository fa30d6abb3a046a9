"""A rule that learns from the study, with a bound on what it throws away."""

from recent_prune.rules.certified.fitted import FittedScore, PastTrial
from recent_prune.rules.certified.rule import CertifiedRule, Judgement

__all__ = ["CertifiedRule", "FittedScore", "Judgement", "PastTrial"]
