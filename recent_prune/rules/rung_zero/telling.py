"""What a sampler that learns from the study is told of candidates that were not trained."""

from __future__ import annotations

import math


def constraint(violation: float, score: float | None, *, stopped: bool) -> float:
    """A candidate's constraint: trained ones before stopped ones, those before condemned ones.

    Samplers that know constraints prefer the smaller violation among infeasible trials, so that
    they learn the score as well, and not merely that a trial has no value. Chosen by measurement
    (``benchmarks/compute_saved/rung_zero.md``).

    Args:
        violation: Of the verdict, ≤ 0 where it can be trained.
        score: By which it was ranked; None if that is not finite.
        stopped: Whether it stood too low.

    Returns:
        ≤ 0 for one that is trained; in (0, 1], less for a higher score, for one that was stopped;
        above 1 for one that is condemned.
    """
    if violation > 0:
        return 1.0 + violation
    if not stopped:
        return violation
    return 1.0 if score is None else 0.5 - math.atan(score) / math.pi
