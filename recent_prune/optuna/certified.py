"""A certified rule in a study: its state is the study's trials, in the study's storage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import optuna
from optuna.study import Study, StudyDirection
from optuna.trial import BaseTrial, FrozenTrial, Trial, TrialState

from recent_prune.optuna import attributes
from recent_prune.probe import ProbeResult
from recent_prune.rules import Verdict
from recent_prune.rules.certified import CertifiedRule, FittedScore, PastTrial
from recent_prune.rules.certified.learned_score import probe_features
from recent_prune.rules.verdict import nonfinite_verdict

# Below Optuna's own, for its handler and verbosity: others would not be shown.
logger = optuna.logging.get_logger(f"optuna.{__name__}")


def judge_in_study(rule: CertifiedRule, trial: BaseTrial, result: ProbeResult) -> Verdict:
    """Judge a trial by what its study has seen, and store what the judgement rests on.

    The draw and its probability are written before the trial runs or is pruned, so a process that
    dies loses no record; a retried trial is judged anew under its own number. A study is judged by
    one score and threshold, fitted by whichever process first sees enough good trials.

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
    past = past_trials(trial.study.get_trials(deepcopy=False), before=trial.number)
    fitted = _fitted(rule, trial.study, past)
    features = probe_features(result)
    told = rule.judge(trial.number, features, trial.params, past, fitted)
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


def past_trials(trials: Sequence[FrozenTrial], before: int | None = None) -> list[PastTrial]:
    """The trials of a study that a certified rule has judged, in order.

    Args:
        trials: Of the study.
        before: Only those with a lower number. Default: all.
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
        if (before is None or trial.number < before)
        and attributes.is_probed(trial)
        and trial.user_attrs.get(attributes.FEATURES) is not None
    ]


def _fitted(rule: CertifiedRule, study: Study, past: Sequence[PastTrial]) -> FittedScore | str:
    known = study.user_attrs.get(attributes.STUDY_FITTED)
    if known is not None:
        return FittedScore.from_dict(known)
    fitted = rule.fitted or rule.fit(past)
    if isinstance(fitted, FittedScore):
        study.set_user_attr(attributes.STUDY_FITTED, fitted.to_dict())
        logger.info(
            f"CertifiedRule has seen enough: threshold {fitted.threshold:.3g}, calibrated on "
            f"{fitted.calibrated_on} good trials."
        )
    return fitted
