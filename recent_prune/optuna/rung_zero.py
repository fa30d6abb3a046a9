"""Rung zero in a study: candidates are ranked by their first steps, the best share is trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from recent_prune.optuna import attributes
from recent_prune.optuna.reading import OfStudies, Reader
from recent_prune.rules.rung_zero import (
    Comparison,
    Key,
    Order,
    Place,
    Rung,
    Standing,
    Training,
    chance,
    constraint,
    drawn,
    goes_on,
    is_stopped,
    stored,
    stored_score,
    turned_down,
)


class _Candidates:
    """Those of a study, as far as this process has read them."""

    def __init__(self, by: str) -> None:
        self._by = by
        self._reader = Reader()
        self._rung = Rung()
        self._compared = Comparison()
        self._replaced: set[int] = set()

    def placed(self, study: Study, number: int, own: Key, keep: float) -> tuple[Standing, float]:
        """Where a candidate stands among the others, and the share that goes on now."""
        with self._reader.lock:
            ended, going_on = self._reader.read(study)
            for trial in filter(self._is_one, ended):
                self._add(study, trial)
            for trial in going_on:
                if trial.number == number or self._is_one(trial):
                    self._replace(study, trial)
            share = turned_down(keep, self._compared.worth())
            others = [
                (_key_of(study, trial), trial.user_attrs[attributes.RUNG_ZERO])
                for trial in going_on
                if self._is_one(trial) and trial.number != number
            ]
            return self._rung.standing(own, share, others), share

    def _is_one(self, trial: FrozenTrial) -> bool:
        """Whether it was ranked by the same scores: a study may be gone on with by another rule."""
        return attributes.is_ranked(trial) and ranked_by(trial, self._by) == self._by

    def _add(self, study: Study, trial: FrozenTrial) -> None:
        """Count one that has ended. Whether the ranking holds is seen by those that trained."""
        place: Place = trial.user_attrs[attributes.RUNG_ZERO]
        self._rung.add(_key_of(study, trial), place)
        self._replace(study, trial)
        order = order_of(trial, study.direction == StudyDirection.MAXIMIZE)
        if order is not None and not is_stopped(place) and not attributes.is_condemned(trial):
            self._compared.add(Training(score_of(trial), order, first=place["best"]))

    def _replace(self, study: Study, retry: FrozenTrial) -> None:
        """A trial that is tried again is no rival of its own: a process was killed, say."""
        new = [number for number in attributes.retried(retry) if number not in self._replaced]
        trials = study.get_trials(deepcopy=False) if new else []
        for earlier in (trials[number] for number in new):
            self._replaced.add(earlier.number)
            if self._is_one(earlier):
                self._rung.remove(_key_of(study, earlier), earlier.user_attrs[attributes.RUNG_ZERO])


class _ByScorer(dict[str, _Candidates]):
    def __missing__(self, by: str) -> _Candidates:
        return self.setdefault(by, _Candidates(by))


_candidates = OfStudies(_ByScorer)


def judged(
    study: Study,
    number: int,
    score: float,
    keep: float,
    explore: float,
    error: float | None = None,
    *,
    by: str,
    condemned: bool = False,
) -> dict[str, Any]:
    """User attributes that say whether a candidate is trained.

    Args:
        study: Whose other candidates it is compared with.
        number: Of its trial.
        score: Of its first steps.
        keep: Share that is to go on where the ranking holds in this study, see :func:`turned_down`.
        explore: Share of the trainings that is drawn from the others, at random.
        error: By how much the score is expected to be wrong, where that is known.
        by: Whose score it is; it is compared with others of these alone.
        condemned: Whether it is not trained, whatever it ranks.
    """
    own = _key(study, number, score)
    found, share = _candidates[study][by].placed(study, number, own, keep)
    best = not condemned and goes_on(found, share)
    at_random = 0.0 if condemned else chance(explore, share, found.barred / found.of)
    explored = not best and drawn(study.study_name, number, "explore") < at_random
    place = Place(
        rank=found.rank,
        of=found.of,
        keep=stored(share),
        best=best,
        explored=explored,
        share=1.0 if best else at_random,
        by=by,
    )
    if condemned:
        place["condemned"] = True
    return of_place(score, place, error, condemned=condemned)


def of_place(score: float, place: Place, error: float | None, *, condemned: bool) -> dict[str, Any]:
    """The user attributes of a candidate."""
    return {
        attributes.RANK_SCORE: stored_score(score),
        attributes.RANK_ERROR: error,
        attributes.RUNG_ZERO: dict(place),
        attributes.STOPPED: is_stopped(place) and not condemned,
    }


def told(violation: float, known: Mapping[str, Any]) -> float:
    """The constraint that goes with these attributes, and a verdict's violation."""
    if attributes.RUNG_ZERO not in known:
        return violation
    return constraint(violation, known[attributes.RANK_SCORE], stopped=known[attributes.STOPPED])


def candidates(study: Study) -> list[FrozenTrial]:
    """All trials that have a place at rung zero, and were ranked by what the last one was."""
    ranked = [trial for trial in study.get_trials(deepcopy=False) if attributes.is_ranked(trial)]
    by = ranked_by(ranked[-1]) if ranked else ""
    return [trial for trial in ranked if ranked_by(trial, by) == by]


def ranked_by(trial: FrozenTrial, unknown: str = "") -> str:
    """Whose score it has; of those that earlier versions stored it is not known."""
    known: str = trial.user_attrs[attributes.RUNG_ZERO].get("by", unknown)
    return known


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


def score_of(trial: FrozenTrial) -> float:
    """By which a candidate was ranked."""
    score = trial.user_attrs[attributes.RANK_SCORE]
    return -math.inf if score is None else float(score)


def _key_of(study: Study, trial: FrozenTrial) -> Key:
    return _key(study, trial.number, score_of(trial))


def _key(study: Study, number: int, score: float) -> Key:
    # As it is stored, so that a candidate is compared as its peers will compare it.
    known = stored_score(score)
    return -math.inf if known is None else known, drawn(study.study_name, number, "ties")
