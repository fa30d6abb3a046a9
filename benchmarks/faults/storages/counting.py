"""What the processes noted, against what stands in the storage."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from benchmarks.faults.counted import Counted
from recent_prune.optuna import attributes
from recent_prune.rules.certified import FittedScore

DIGITS = 1e-3
"""A score comes out anew from what is stored to six digits."""


@dataclass(frozen=True)
class Seen:
    """A study in the end.

    Attributes:
        trials: In its storage.
        attributes: Of the study.
        notes: Of all processes.
        kills: How many of them were killed.
        resumed: Whether one more trial could be run, and what came in its way.
        missing: Trials that should have ended, and did not in time.
    """

    trials: list[FrozenTrial]
    attributes: dict[str, Any]
    notes: list[dict[str, Any]]
    kills: int
    resumed: str
    missing: int


def seen(study: Study, folder: Path, kills: int, resumed: str, wanted: int) -> Seen:
    """Read all of it."""
    trials = study.get_trials(deepcopy=False)
    done = sum(trial.state.is_finished() for trial in trials)
    return Seen(trials, study.user_attrs, noted(folder), kills, resumed, max(wanted - done, 0))


def noted(folder: Path) -> list[dict[str, Any]]:
    """Lines that are whole."""
    lines = [line for path in folder.glob("*.jsonl") for line in path.read_text().splitlines(True)]
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _has_own_verdict(trial: FrozenTrial) -> bool:
    """Nothing is taken over from other studies here."""
    own: object = trial.user_attrs.get(attributes.TRIAL)
    return attributes.is_probed(trial) and own == trial.number


def figures(case: str, judged: str, found: Seen) -> list[Counted]:
    """What is counted of a study."""
    note = f"time was up, {found.missing} trials missing" if found.missing else ""
    run = [trial for trial in found.trials if not attributes.carries_fit(trial)]
    ended = sum(trial.state.is_finished() for trial in run)
    errors = Counter(n["kind"] for n in found.notes if n["what"] == "error")
    told = ", ".join(f"{kind} {count}" for kind, count in sorted(errors.items()))
    left = sum(trial.state == TrialState.RUNNING for trial in found.trials)
    rows = [
        Counted(case, "trials that ended", ended, note=note),
        Counted(case, "processes killed", found.kills),
        Counted(case, "processes that an error ended", sum(errors.values()), note=told),
        Counted(case, "trials left running by those that died", left, note="Optuna's"),
        Counted(case, "trials lost that had ended", len(lost(found)), ended, "0"),
        Counted(
            case,
            "studies that cannot be resumed",
            float(bool(found.resumed)),
            1,
            "0",
            found.resumed,
        ),
    ]
    if judged == "plain":
        return rows
    rows += [
        Counted(case, "trials probed twice", len(twice(found)), ended, "0"),
        Counted(case, "trials trained although condemned", len(trained(found)), ended, "0"),
        Counted(case, "verdicts that do not stand in the storage", len(missing(found)), ended, "0"),
    ]
    if judged == "CertifiedRule":
        other = judged_by_another(found)
        scored = sum(score_of(trial) is not None for trial in found.trials)
        rows.append(Counted(case, "trials judged by another fit", len(other), scored, "0"))
        rows.append(Counted(case, "processes that fitted", len(found.trials) - len(run)))
    if judged == "keep=1/4":
        ranked = [trial for trial in found.trials if attributes.is_ranked(trial)]
        best = sum(trial.user_attrs[attributes.RUNG_ZERO]["best"] for trial in ranked)
        rows.append(Counted(case, "candidates that went on by their rank", best, len(ranked)))
    return rows


def lost(found: Seen) -> set[int]:
    """Trials whose end was told to a process, and that the storage does not have as ended."""
    there = {trial.number: trial.state.name for trial in found.trials}
    ends = {note["trial"]: note["state"] for note in found.notes if note["what"] == "ended"}
    gone = {number for number, state in ends.items() if there.get(number) != state}
    return gone | set(range(len(found.trials))) - set(there)


def twice(found: Seen) -> set[int]:
    """Trials of which a probe was begun twice."""
    counts = Counter(note["trial"] for note in found.notes if note["what"] == "probes")
    return {number for number, count in counts.items() if count > 1}


def trained(found: Seen) -> set[int]:
    """Trials that went on, or came to a value, though their verdict in the storage says no."""
    went_on = {note["trial"] for note in found.notes if note["what"] == "trains"}
    went_on |= {t.number for t in found.trials if t.state == TrialState.COMPLETE}
    condemned = {
        trial.number
        for trial in found.trials
        if attributes.is_condemned(trial) or attributes.is_stopped(trial)
    }
    return went_on & condemned


def missing(found: Seen) -> set[int]:
    """Trials that were judged, and whose verdict in the storage is another, or none."""
    there = {trial.number: trial for trial in found.trials}
    wrong = {
        trial.number
        for trial in found.trials
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
        and not (_has_own_verdict(trial) and attributes.CONSTRAINT in trial.constraints)
    }
    for note in found.notes:
        if note["what"] != "judged":
            continue
        trial = there.get(note["trial"])
        if trial is None or not _has_own_verdict(trial):
            wrong.add(note["trial"])
            continue
        pruned = attributes.is_condemned(trial) or attributes.is_stopped(trial)
        told = trial.constraints.get(attributes.CONSTRAINT, 0.0) > 0
        if trial.user_attrs[attributes.TRAINABLE] != note["trainable"] or not (
            pruned == told == note["pruned"]
        ):
            wrong.add(note["trial"])
    return wrong


def score_of(trial: FrozenTrial) -> float | None:
    """That a certified rule judged it by."""
    return trial.user_attrs.get(attributes.SCORE) if _has_own_verdict(trial) else None


def judged_by_another(found: Seen) -> set[int]:
    """Trials whose score is not that of the fit that the study goes by."""
    known = found.attributes.get(attributes.STUDY_FITTED)
    fitted = None if known is None else FittedScore.from_dict(known)
    other = set()
    for trial in found.trials:
        score = score_of(trial)
        if score is None:
            continue
        features = trial.user_attrs[attributes.FEATURES]
        if fitted is None or not np.isclose(
            score, fitted.score(features, trial.params), rtol=DIGITS, atol=DIGITS
        ):
            other.add(trial.number)
    return other
