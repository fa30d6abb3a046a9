"""Rung zero in a study: candidates are ranked by their first steps, the best share is trained."""

from __future__ import annotations

import math
import zlib
from typing import Any

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial

from recent_prune.optuna import attributes
from recent_prune.probe import ProbeResult
from recent_prune.rules import Rule, TrainabilityRule
from recent_prune.rules.rung_zero import Key, goes_on, standing


def score_of(rule: Rule, result: ProbeResult) -> float:
    """By the rule's own ``score``, if it has one; higher is better."""
    score = getattr(rule, "score", TrainabilityRule.score)(result)
    return float(score)


def judged(study: Study, number: int, score: float, keep: float, explore: float) -> dict[str, Any]:
    """User attributes that say whether a candidate is trained.

    Args:
        study: Whose other candidates it is compared with.
        number: Of its trial.
        score: Of its first steps.
        keep: Share that is to go on.
        explore: Share of the others that goes on all the same, at random.
    """
    peers = [
        trial
        for trial in study.get_trials(deepcopy=False)
        if trial.number != number and attributes.is_ranked(trial)
    ]
    keys = [_key(study, trial.number, _score(trial)) for trial in peers]
    gone_on = sum(trial.user_attrs[attributes.RUNG_ZERO]["best"] for trial in peers)
    place = standing(_key(study, number, score), keys, gone_on)
    best = goes_on(place, keep)
    explored = not best and _drawn(study, number, "explore") < explore
    return {
        attributes.RANK_SCORE: float(f"{score:.6g}") if math.isfinite(score) else None,
        attributes.RUNG_ZERO: {
            "rank": place.rank,
            "of": place.of,
            "keep": keep,
            "best": best,
            "explored": explored,
            "share": 1.0 if best else explore,
        },
        attributes.STOPPED: not (best or explored),
    }


def reason(known: dict[str, Any]) -> str:
    """What these attributes say, in a sentence."""
    rung = known[attributes.RUNG_ZERO]
    place = f"Rank {rung['rank']} of {rung['of']} candidates so far by its first steps"
    share = f"the best {rung['keep']:.3g} of them are trained"
    if known[attributes.STOPPED]:
        return f"{place}; {share}."
    told = "and it goes on at random, to see what the ranking is worth" if rung["explored"] else ""
    return f"{place}; {share}{', ' if told else ''}{told}."


def _score(trial: FrozenTrial) -> float:
    score = trial.user_attrs[attributes.RANK_SCORE]
    return -math.inf if score is None else float(score)


def _key(study: Study, number: int, score: float) -> Key:
    # As it is stored, so that a candidate is compared as its peers will compare it.
    rounded = float(f"{score:.6g}") if math.isfinite(score) else -math.inf
    return rounded, _drawn(study, number, "ties")


def _drawn(study: Study, number: int, purpose: str) -> float:
    """A number in [0, 1), the same in every process."""
    seed = [zlib.crc32(study.study_name.encode()), number, zlib.crc32(purpose.encode())]
    return float(np.random.default_rng(seed).random())
