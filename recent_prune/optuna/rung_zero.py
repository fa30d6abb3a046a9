"""Rung zero in a study: candidates are ranked by their first steps, the best share is trained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from recent_prune.optuna import attributes
from recent_prune.rules.rung_zero import (
    Key,
    Order,
    Place,
    Worth,
    constraint,
    drawn,
    goes_on,
    is_stopped,
    standing,
    stored,
    stored_score,
    turned_down,
    worth,
)


def judged(study: Study, number: int, score: float, keep: float, explore: float) -> dict[str, Any]:
    """User attributes that say whether a candidate is trained.

    Args:
        study: Whose other candidates it is compared with.
        number: Of its trial.
        score: Of its first steps.
        keep: Share that is to go on where the ranking holds in this study, see :func:`turned_down`.
        explore: Share of the others that goes on all the same, at random.
    """
    peers = [trial for trial in candidates(study) if trial.number != number]
    share = turned_down(keep, worth_in(study, peers))
    rungs = [trial.user_attrs[attributes.RUNG_ZERO] for trial in peers]
    keys = [_key(study, trial.number, _score(trial)) for trial in peers]
    gone_on = sum(rung["best"] for rung in rungs)
    due = sum(rung["keep"] for rung in rungs) + share
    place = standing(_key(study, number, score), keys, gone_on, due)
    best = goes_on(place, share)
    explored = not best and drawn(study.study_name, number, "explore") < explore
    chance = 1.0 if best else explore
    return of_place(
        score,
        Place(
            rank=place.rank,
            of=place.of,
            keep=stored(share),
            best=best,
            explored=explored,
            share=chance,
        ),
    )


def of_place(score: float, place: Place) -> dict[str, Any]:
    """The user attributes of a candidate."""
    return {
        attributes.RANK_SCORE: stored_score(score),
        attributes.RUNG_ZERO: dict(place),
        attributes.STOPPED: is_stopped(place),
    }


def told(violation: float, known: Mapping[str, Any]) -> float:
    """The constraint that goes with these attributes, and a verdict's violation."""
    if attributes.RUNG_ZERO not in known:
        return violation
    return constraint(violation, known[attributes.RANK_SCORE], stopped=known[attributes.STOPPED])


def candidates(study: Study) -> list[FrozenTrial]:
    """All trials that have a place at rung zero."""
    return [trial for trial in study.get_trials(deepcopy=False) if attributes.is_ranked(trial)]


def worth_in(study: Study, ranked: Sequence[FrozenTrial]) -> Worth:
    """What the ranking is worth by the trainings that have ended.

    Those that were condemned do not count, whatever they ranked, nor those that failed.

    Args:
        study: Their study, of one objective.
        ranked: Of :func:`candidates`.
    """
    maximize = study.direction == StudyDirection.MAXIMIZE
    first: list[Order] = []
    others: list[Order] = []
    for trial in ranked:
        order = order_of(trial, maximize)
        if order is None or attributes.is_condemned(trial):
            continue
        rung = trial.user_attrs[attributes.RUNG_ZERO]
        if rung["best"]:
            first.append(order)
        elif rung["explored"]:
            others.append(order)
    return worth(first, others)


def order_of(trial: FrozenTrial, maximize: bool) -> Order | None:
    """What a training came to, None while unknown.

    As Optuna's TPE compares them: the further one got before it was pruned the better.
    """
    sign = 1.0 if maximize else -1.0
    if trial.state == TrialState.COMPLETE:
        return math.inf, sign * trial.values[0]
    if trial.state != TrialState.PRUNED or not trial.intermediate_values:
        return None
    step, value = max(trial.intermediate_values.items())
    return float(step), -math.inf if math.isnan(value) else sign * value


def _score(trial: FrozenTrial) -> float:
    score = trial.user_attrs[attributes.RANK_SCORE]
    return -math.inf if score is None else float(score)


def _key(study: Study, number: int, score: float) -> Key:
    # As it is stored, so that a candidate is compared as its peers will compare it.
    known = stored_score(score)
    return -math.inf if known is None else known, drawn(study.study_name, number, "ties")
