"""The audit of a study, read from its storage."""

from __future__ import annotations

from optuna.study import Study
from optuna.trial import FrozenTrial

from recent_prune.audit import Audit, Costs, audited, rule_of
from recent_prune.optuna import attributes
from recent_prune.optuna.certified import past_trials


def audit(study: Study) -> Audit:
    """Audit a study that a :class:`CertifiedRule` has pruned.

    All is read from the study's storage: any process can audit, during the study or after it.

    Args:
        study: Its trials were probed with ``probe_trial`` under a :class:`CertifiedRule`.

    Raises:
        ValueError: If no trial was judged by such a rule.
    """
    settings = study.user_attrs.get(attributes.STUDY_RULE)
    trials = study.get_trials(deepcopy=False)
    past = past_trials(trials)
    if settings is None or not past:
        raise ValueError(
            f"Study {study.study_name!r} has no trials that a CertifiedRule judged: there is "
            "nothing to audit."
        )
    rule = rule_of(settings)
    fitted = study.user_attrs.get(attributes.STUDY_FITTED)
    bound = rule.good_bound(past) if fitted is None else fitted["good_bound"]
    probed = [trial for trial in trials if attributes.is_probed(trial)]
    ran = {trial.number for trial in past if trial.ran and trial.ended}
    costs = Costs(
        trials=len(trials),
        probes=[trial.user_attrs[attributes.SECONDS] for trial in probed],
        runs={trial.number: _seconds(trial) for trial in probed if trial.number in ran},
    )
    return audited(rule, past, bound, costs)


def _seconds(trial: FrozenTrial) -> float:
    return trial.duration.total_seconds() if trial.duration is not None else 0.0
