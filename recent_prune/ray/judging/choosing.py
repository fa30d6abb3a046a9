"""Who decides in a run."""

from __future__ import annotations

import logging

from ray.tune.result import DEFAULT_METRIC
from ray.tune.schedulers import TrialScheduler

from recent_prune.ray.judging.certified import Draws, Judge
from recent_prune.ray.judging.rung_zero import RungZero
from recent_prune.ray.judging.situation import Decisions
from recent_prune.ray.schedulers import waits_for_all
from recent_prune.rules.certified import CertifiedRule

logger = logging.getLogger(__name__)


def decisions_of(
    certified: CertifiedRule | None,
    keep: float,
    explore: float,
    metric: object,
    mode: object,
    wrapped: TrialScheduler,
) -> Decisions | None:
    """Rung zero, a certified rule, or nobody: then the verdicts of the probes stand.

    Args:
        certified: The rule, where it is one.
        keep: Share of the candidates that is started.
        explore: Share of those that start that is drawn from the others, at random.
        metric: Of the run, as Tune or the wrapped scheduler was told.
        mode: Likewise.
        wrapped: The wrapped scheduler.

    Raises:
        ValueError: If a certified rule has no metric to go by.
    """
    known = isinstance(metric, str) and metric != DEFAULT_METRIC and mode in ("max", "min")
    if keep < 1:
        return RungZero(keep, explore, str(metric) if known else None, str(mode))
    if certified is None:
        return None
    if not known:
        raise ValueError(
            "CertifiedRule needs one metric and its mode, in TuneConfig or of the wrapped "
            f"scheduler, but got {metric!r} and {mode!r}."
        )
    if waits_for_all(wrapped):
        logger.warning(
            "recent_prune: %s wants all trials at once, before any has shown whether it is "
            "good, so CertifiedRule will have all condemned ones run.",
            type(wrapped).__name__,
        )
    rule = certified.towards("maximize" if mode == "max" else "minimize")
    return Draws(Judge(rule, str(metric)))
