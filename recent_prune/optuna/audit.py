"""The audit of a study, read from its storage."""

from __future__ import annotations

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from recent_prune.audit import (
    Audit,
    Costs,
    RankedTrial,
    RankingAudit,
    audited,
    audited_ranking,
    rule_of,
)
from recent_prune.optuna import attributes, rung_zero
from recent_prune.optuna.certified import past_trials


def audit(study: Study) -> Audit | RankingAudit:
    """Audit a study that rung zero or a :class:`CertifiedRule` has pruned.

    All is read from the study's storage: any process can audit, during the study or after it.

    Args:
        study: Its trials were probed with ``probe_trial``, under a pruner with ``keep`` below 1 or
            with a :class:`CertifiedRule`.

    Returns:
        A :class:`RankingAudit` where candidates were ranked: what those that ranked first came to,
        against those that were trained at random. An :class:`Audit` under a certified rule: what
        was thrown away. Both have a ``summary`` and an ``over_time``.

    Raises:
        ValueError: If there is neither.
    """
    ranked = rung_zero.candidates(study)
    if ranked:
        maximize = study.direction == StudyDirection.MAXIMIZE
        return audited_ranking([_ranked(trial, maximize) for trial in ranked], maximize=maximize)
    return _certified(study)


def _ranked(trial: FrozenTrial, maximize: bool) -> RankedTrial:
    rung = trial.user_attrs[attributes.RUNG_ZERO]
    seconds = float(trial.user_attrs[attributes.SECONDS])
    return RankedTrial(
        number=trial.number,
        condemned=attributes.is_condemned(trial),
        best=rung["best"],
        displaced=rung.get("displaced", False),
        failed=trial.state == TrialState.FAIL,
        explored=rung["explored"],
        keep=rung["keep"],
        score=rung_zero.score_of(trial),
        order=rung_zero.order_of(trial, maximize),
        value=trial.values[0] if trial.state == TrialState.COMPLETE else None,
        seconds=max(_seconds(trial) - seconds, 0.0),
        probe_seconds=seconds,
    )


def _certified(study: Study) -> Audit:
    settings = study.user_attrs.get(attributes.STUDY_RULE)
    trials = study.get_trials(deepcopy=False)
    past = past_trials(trials)
    if settings is None or not past:
        raise ValueError(
            f"Study {study.study_name!r} has no trials that rung zero ranked (a pruner with `keep` "
            "below 1) or a CertifiedRule judged: there is nothing to audit."
        )
    rule = rule_of(settings)
    fitted = study.user_attrs.get(attributes.STUDY_FITTED)
    bound = rule.good_bound(past) if fitted is None else fitted["good_bound"]
    probed = [trial for trial in trials if attributes.is_probed(trial)]
    ran = {trial.number for trial in past if trial.ran and trial.ended}
    costs = Costs(
        trials=sum(not attributes.carries_fit(trial) for trial in trials),
        probes=[trial.user_attrs[attributes.SECONDS] for trial in probed],
        runs={trial.number: _seconds(trial) for trial in probed if trial.number in ran},
    )
    return audited(rule, past, bound, costs)


def _seconds(trial: FrozenTrial) -> float:
    return trial.duration.total_seconds() if trial.duration is not None else 0.0
