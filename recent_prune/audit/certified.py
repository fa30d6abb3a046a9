"""What a certified rule threw away, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import pandas as pd

from recent_prune.notebook import audit_html
from recent_prune.rules.certified import CertifiedRule, PastTrial


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

    _repr_html_ = audit_html


@dataclass(frozen=True)
class Costs:
    """What a study spent.

    Attributes:
        trials: In all.
        probes: Seconds of each probe.
        runs: Seconds of each judged trial that ran and ended, by its number.
    """

    trials: int
    probes: Sequence[float]
    runs: Mapping[int, float]


def audited(rule: CertifiedRule, past: Sequence[PastTrial], bound: float, costs: Costs) -> Audit:
    """Audit the past of a study.

    Args:
        rule: That judged it, with the study's direction.
        past: All trials that it judged, in order; at least one.
        bound: The value from which on a trial is good.
        costs: Of the study.
    """
    rows = []
    drawn = 0
    for trial, state in zip(past, rule.certify_each(past, bound), strict=True):
        drawn += trial.share is not None and trial.ran
        rows.append(
            {
                "number": trial.number,
                "condemned": trial.share is not None,
                "ran": trial.ran,
                "good": rule.is_good(trial, bound) if trial.ran and trial.ended else None,
                "good_seen": state.good,
                "pruned": state.pruned,
                "audited": drawn,
                "found": state.found,
                "lost_at_most": state.lost,
                "rate_at_most": state.rate,
            }
        )
    over_time = pd.DataFrame(rows)
    summary = _summary(rule, past, over_time.iloc[-1], bound, costs)
    return Audit(summary, over_time, rule.max_false_prune_rate, rule.confidence)


def rule_of(settings: Mapping[str, Any]) -> CertifiedRule:
    """The rule with settings that were stored, see :meth:`CertifiedRule.settings`."""
    known = {item.name for item in fields(CertifiedRule)}
    return CertifiedRule(**{name: value for name, value in settings.items() if name in known})


def _summary(
    rule: CertifiedRule, past: Sequence[PastTrial], last: Any, bound: float, costs: Costs
) -> pd.DataFrame:
    condemned = {trial.number for trial in past if trial.share is not None}
    full = [
        costs.runs[trial.number]
        for trial in past
        if trial.number in costs.runs and trial.number not in condemned and trial.value is not None
    ]
    typical = float(pd.Series(full, dtype=float).median()) if full else 0.0
    saved = typical * float(last["pruned"])
    spent = sum(seconds for number, seconds in costs.runs.items() if number in condemned)
    better = "≥" if rule.direction == "maximize" else "≤"
    certain = f"the draws are fair; holds at all times with {rule.confidence:.0%} confidence"
    lines: list[tuple[str, object, str]] = [
        ("trials", costs.trials, ""),
        ("probed", len(costs.probes), ""),
        ("good", int(last["good_seen"]), f"that ended with a value {better} {bound:.6g}"),
        ("condemned", len(condemned), ""),
        ("of these pruned", int(last["pruned"]), ""),
        ("of these run as audit", int(last["audited"]), "drawn with the stored probability"),
        ("good among the audited", int(last["found"]), "a trial that failed is not good"),
        ("good trials lost, at most", int(last["lost_at_most"]), certain),
        ("rate of good trials lost, at most", f"{last['rate_at_most']:.2%}", certain),
        ("tolerated rate", f"{rule.max_false_prune_rate:.2%}", ""),
        ("seconds spent on probes", f"{sum(costs.probes):.1f}", "wall clock"),
        ("seconds spent on audits", f"{spent:.1f}", "wall clock"),
        ("seconds saved", f"{saved:.1f}", "a pruned trial would have taken the median of others"),
    ]
    return pd.DataFrame(lines, columns=["figure", "value", "assumption"])
