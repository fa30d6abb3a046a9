"""A certified rule in a study: its state is the study's trials, in the study's storage."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any

import optuna
from optuna.study import Study, StudyDirection
from optuna.trial import BaseTrial, FrozenTrial, Trial, TrialState, create_trial

from recent_prune.optuna import attributes
from recent_prune.optuna.reading import OfStudies, Reader
from recent_prune.probe import ProbeResult
from recent_prune.rules import Verdict
from recent_prune.rules.certified import CertifiedRule, FittedScore, PastTrial
from recent_prune.rules.certified.learned_score import probe_features
from recent_prune.rules.certified.standing import Settled
from recent_prune.rules.verdict import nonfinite_verdict

# Below Optuna's own, for its handler and verbosity: others would not be shown.
logger = optuna.logging.get_logger(f"optuna.{__name__}")


def judge_in_study(rule: CertifiedRule, trial: BaseTrial, result: ProbeResult) -> Verdict:
    """Judge a trial by what its study has seen, and store what the judgement rests on.

    The draw and its probability are written before the trial runs or is pruned, so a process that
    dies loses no record; a retried trial is judged anew under its own number. A study is judged by
    one score and threshold, see :func:`agreed`.

    Raises:
        ValueError: If the trial is not one of a study with a single objective.
    """
    if not isinstance(trial, Trial) or len(trial.study.directions) > 1:
        raise ValueError(
            f"CertifiedRule needs a trial of a study with one objective, but got {_about(trial)}."
        )
    nonfinite = nonfinite_verdict(result)
    if nonfinite is not None:  # never good, and not worth a record
        if attributes.FEATURES in trial.user_attrs:  # of the trial that this one retries
            trial.set_user_attr(attributes.FEATURES, None)
        return nonfinite
    rule = for_study(rule, trial.study)
    if trial.study.user_attrs.get(attributes.STUDY_RULE) != rule.settings():
        trial.study.set_user_attr(attributes.STUDY_RULE, rule.settings())
    past, settled = _pasts[trial.study].before(trial)
    fitted = _fitted(rule, trial.study, past)
    features = probe_features(result)
    told = rule.judge(trial.number, features, trial.params, past, fitted, settled)
    trial.set_user_attr(attributes.FEATURES, {k: float(f"{v:.6g}") for k, v in features.items()})
    trial.set_user_attr(attributes.SCORE, told.score)
    trial.set_user_attr(attributes.SHARE, told.share)
    return told.verdict


def _about(trial: BaseTrial) -> str:
    if isinstance(trial, Trial):
        return f"{len(trial.study.directions)} objectives"
    return f"a {type(trial).__name__}"


def for_study(rule: CertifiedRule, study: Study) -> CertifiedRule:
    """The rule with the study's direction."""
    maximize = study.direction == StudyDirection.MAXIMIZE
    return rule.towards("maximize" if maximize else "minimize")


def calibrated(rule: CertifiedRule, *studies: Study) -> CertifiedRule:
    """The rule, calibrated by earlier studies, so that a new one need not watch.

    Args:
        rule: Its criterion of a good trial counts.
        studies: Of the same kind as the new one, and with its direction; each trial was probed
            under a :class:`CertifiedRule`. Their trials from before anything was pruned take part.

    Raises:
        ValueError: If there are too few good trials, or the directions differ.
    """
    directions = {tuple(d.name for d in study.directions) for study in studies}
    if len(directions) != 1 or any(len(direction) > 1 for direction in directions):
        raise ValueError(
            "`studies` must be at least one, with one objective and all of one direction, but got "
            f"{sorted(directions)}."
        )
    fitted = for_study(rule, studies[0]).fit(
        [trial for study in studies for trial in past_trials(study.get_trials(deepcopy=False))]
    )
    if isinstance(fitted, str):
        raise ValueError(f"`studies` cannot calibrate the rule: {fitted}")
    return replace(rule, fitted=fitted)


def past_trials(trials: Sequence[FrozenTrial]) -> list[PastTrial]:
    """The trials of a study that a certified rule has judged, in order.

    Args:
        trials: Of the study.
    """
    return [
        PastTrial(
            number=trial.number,
            features=trial.user_attrs[attributes.FEATURES],
            parameters=trial.params,
            share=trial.user_attrs.get(attributes.SHARE),
            ran=not attributes.is_condemned(trial),
            score=trial.user_attrs.get(attributes.SCORE),
            ended=trial.state.is_finished(),
            value=trial.value if trial.state == TrialState.COMPLETE else None,
        )
        for trial in sorted(trials, key=lambda trial: trial.number)
        if attributes.is_probed(trial) and trial.user_attrs.get(attributes.FEATURES) is not None
    ]


class _Past:
    """The past trials of a study, as far as this process has read them."""

    def __init__(self) -> None:
        self._reader = Reader()
        self._ended: list[PastTrial] = []
        self._settled = Settled()

    def before(self, trial: Trial) -> tuple[list[PastTrial], Settled]:
        """Those with a lower number, in order, and the first of them, before any that goes on."""
        with self._reader.lock:
            ended, going_on = self._reader.read(trial.study)
            for one in past_trials(ended):
                insort(self._ended, one, key=_number)
            known = self._ended[: bisect_left(self._ended, trial.number, key=_number)]
            first = min((one.number for one in going_on), default=trial.number)
            self._settled.count = bisect_left(self._ended, first, key=_number)
        for one in past_trials(going_on):
            if one.number < trial.number:
                insort(known, one, key=_number)
        return known, self._settled


_pasts = OfStudies(_Past)
_number = attrgetter("number")


def _fitted(rule: CertifiedRule, study: Study, past: Sequence[PastTrial]) -> FittedScore | str:
    known = study.user_attrs.get(attributes.STUDY_FITTED)
    if known is None:
        fitted = rule.fitted or rule.fit(past)
        if isinstance(fitted, str):
            return fitted
        known = fitted.to_dict() if rule.fitted else agreed(study, fitted.to_dict())
        study.set_user_attr(attributes.STUDY_FITTED, known)
        logger.info(
            f"CertifiedRule has seen enough: threshold {known['threshold']:.3g}, calibrated on "
            f"{known['calibrated_on']} good trials."
        )
    if rule.better_than not in (None, known["good_bound"]):
        raise ValueError(
            f"`better_than` must be {known['good_bound']!r}, by which the study's rule was fitted, "
            f"but got {rule.better_than!r}: give that, or begin a new study."
        )
    return FittedScore.from_dict(known)


def agreed(study: Study, fitted: dict[str, Any]) -> dict[str, Any]:
    """What a study goes by, where several processes have fitted something at the same time.

    An attribute of a study is that of whoever wrote it last. Its trials however are numbered one
    after the other, whichever process adds them. So each process adds one that carries what was
    fitted, and the first one counts.

    That trial has failed as it is added. One that waited to be run would be run twice in SQLite,
    which does not lock it against two processes that ask at the same time; and samplers pass over
    failed ones. Its parameters are those of a trial that has ended, since `BruteForceSampler`
    takes a trial without any for one that nothing can follow.

    Args:
        study: That is fitted.
        fitted: By this process.
    """
    known = study.get_trials(deepcopy=False)
    like = next((trial for trial in known if trial.state == TrialState.COMPLETE), None)
    study.add_trial(
        create_trial(
            state=TrialState.FAIL,
            params=None if like is None else like.params,
            distributions=None if like is None else like.distributions,
            user_attrs={attributes.STUDY_FITTED: fitted},
        )
    )
    carriers = filter(attributes.carries_fit, study.get_trials(deepcopy=False))
    first: dict[str, Any] = next(carriers).user_attrs[attributes.STUDY_FITTED]
    return first
