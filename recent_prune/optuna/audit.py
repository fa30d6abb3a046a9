"""What a certified rule threw away, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import pandas as pd
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from recent_prune.optuna import attributes
from recent_prune.optuna.certified import past_trials
from recent_prune.rules.certified import CertifiedRule


@dataclass(frozen=True)
class Audit:
    """The audit of a study.

    Attributes:
        summary: A line a figure: ``figure``, ``value``, and the ``assumption`` it rests on.
        over_time: A line a judged trial: ``number``; ``condemned``; ``ran``; ``good`` (None while
            unknown); and of the study up to it ``good_seen``, ``pruned``, ``audited``, ``found``
            (good ones among the audited), ``lost_at_most`` and ``rate_at_most``.
        tolerance: Of the rule.
        confidence: Of the rule.
    """

    summary: pd.DataFrame
    over_time: pd.DataFrame
    tolerance: float
    confidence: float


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
    rows = []
    audited = 0
    for index, trial in enumerate(past):
        state = rule.certify(past[: index + 1], bound)
        audited += trial.share is not None and trial.ran
        rows.append(
            {
                "number": trial.number,
                "condemned": trial.share is not None,
                "ran": trial.ran,
                "good": rule.is_good(trial, bound) if trial.ran and trial.ended else None,
                "good_seen": state.good,
                "pruned": state.pruned,
                "audited": audited,
                "found": state.found,
                "lost_at_most": state.lost,
                "rate_at_most": state.rate,
            }
        )
    over_time = pd.DataFrame(rows)
    summary = _summary(rule, trials, over_time, bound)
    return Audit(summary, over_time, rule.max_false_prune_rate, rule.confidence)


def rule_of(settings: dict[str, Any]) -> CertifiedRule:
    """The rule with settings that were stored."""
    known = {item.name for item in fields(CertifiedRule)}
    return CertifiedRule(**{name: value for name, value in settings.items() if name in known})


def _summary(
    rule: CertifiedRule, trials: list[FrozenTrial], over_time: pd.DataFrame, bound: float
) -> pd.DataFrame:
    last = over_time.iloc[-1]
    condemned = set(over_time.loc[over_time["condemned"], "number"])
    drawn = set(over_time.loc[over_time["condemned"] & over_time["ran"], "number"])
    probed = [t for t in trials if attributes.is_probed(t)]
    full = [
        _seconds(trial)
        for trial in trials
        if trial.state == TrialState.COMPLETE and trial.number not in drawn
    ]
    typical = float(pd.Series(full, dtype=float).median()) if full else 0.0
    saved = typical * float(last["pruned"])
    spent = sum(_seconds(t) for t in trials if t.number in drawn and t.state.is_finished())
    probes = sum(trial.user_attrs[attributes.SECONDS] for trial in probed)
    better = "≥" if rule.direction == "maximize" else "≤"
    certain = f"the draws are fair; holds at all times with {rule.confidence:.0%} confidence"
    lines: list[tuple[str, object, str]] = [
        ("trials", len(trials), ""),
        ("probed", len(probed), ""),
        ("good", int(last["good_seen"]), f"that ended with a value {better} {bound:.6g}"),
        ("condemned", len(condemned), ""),
        ("of these pruned", int(last["pruned"]), ""),
        ("of these run as audit", int(last["audited"]), "drawn with the stored probability"),
        ("good among the audited", int(last["found"]), "a trial that failed is not good"),
        ("good trials lost, at most", int(last["lost_at_most"]), certain),
        ("rate of good trials lost, at most", f"{last['rate_at_most']:.2%}", certain),
        ("tolerated rate", f"{rule.max_false_prune_rate:.2%}", ""),
        ("seconds spent on probes", f"{probes:.1f}", "wall clock"),
        ("seconds spent on audits", f"{spent:.1f}", "wall clock"),
        ("seconds saved", f"{saved:.1f}", "a pruned trial would have taken the median of others"),
    ]
    return pd.DataFrame(lines, columns=["figure", "value", "assumption"])


def _seconds(trial: FrozenTrial) -> float:
    return trial.duration.total_seconds() if trial.duration is not None else 0.0
