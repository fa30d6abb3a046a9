"""Processes on one study that are killed: what is counted, and some of them for real."""

from __future__ import annotations

import random
import time
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from benchmarks.faults.counted import Counted
from benchmarks.faults.storages.counting import Seen, figures
from benchmarks.faults.storages.sweeps import BROKEN, CASES, Case, over_all, run
from benchmarks.faults.storages.working import PRUNERS, RULE
from recent_prune.optuna import attributes
from recent_prune.rules.certified import FittedScore
from recent_prune.rules.certified.learned_score import learn_score

FITTED = FittedScore(learn_score([], [], []), 0.0, 0.7, 9, "maximize").to_dict()


def trial(number: int, state: TrialState, condemned: bool, **more: Any) -> optuna.trial.FrozenTrial:
    """One that was judged, its score by `FITTED`."""
    known = {
        attributes.TRIAL: number,
        attributes.FEATURES: {"score": 0.5},
        attributes.SCORE: 0.5,
        attributes.TRAINABLE: not condemned,
    }
    made = optuna.trial.create_trial(
        state=state,
        value=0.5 if state == TrialState.COMPLETE else None,
        user_attrs={**known, **more},
        constraints={attributes.CONSTRAINT: 1.0 if condemned else -0.5},
    )
    made.number = number
    return made


TRIALS = [
    trial(0, TrialState.COMPLETE, condemned=False),
    trial(1, TrialState.PRUNED, condemned=True),
]


def notes(**of_first: Any) -> list[dict[str, Any]]:
    """What two processes noted of two trials, one of them with something else."""
    told = {"trainable": True, "pruned": False, "state": "COMPLETE", **of_first}
    return [
        {"what": "probes", "trial": 0},
        {"what": "judged", "trial": 0, "trainable": told["trainable"], "pruned": told["pruned"]},
        {"what": "trains", "trial": 0},
        {"what": "ended", "trial": 0, "state": told["state"]},
        {"what": "probes", "trial": 1},
        {"what": "judged", "trial": 1, "trainable": False, "pruned": True},
        {"what": "ended", "trial": 1, "state": "PRUNED"},
    ]


def faults(rows: list[Counted]) -> dict[str, float]:
    """What missed its goal."""
    return {row.what: row.counted for row in rows if row.goal == "0" and row.counted}


def found(
    trials: list[optuna.trial.FrozenTrial], noted: list[dict[str, Any]], resumed: str = ""
) -> dict[str, float]:
    seen = Seen(trials, {attributes.STUDY_FITTED: FITTED}, noted, 3, resumed, 0)
    return faults(figures("case", "CertifiedRule", seen))


def test_a_study_in_which_all_went_well() -> None:
    assert found(TRIALS, notes()) == {}


def test_each_fault_is_counted() -> None:
    assert found(TRIALS, [*notes(), {"what": "probes", "trial": 1}]) == {"trials probed twice": 1}
    assert found(TRIALS[:1], notes()[:4]) == {}
    assert found(TRIALS, notes(state="PRUNED")) == {"trials lost that had ended": 1}
    trained = {"trials trained although condemned": 1}
    assert found(TRIALS, [*notes(), {"what": "trains", "trial": 1}]) == trained
    verdicts = "verdicts that do not stand in the storage"
    assert found(TRIALS, notes(pruned=True)) == {verdicts: 1}
    assert found([trial(0, TrialState.COMPLETE, False, **{attributes.TRIAL: 7})], []) == {
        verdicts: 1
    }
    other = [trial(0, TrialState.COMPLETE, False, **{attributes.SCORE: 0.6}), TRIALS[1]]
    assert found(other, notes()) == {"trials judged by another fit": 1}
    assert found(TRIALS, notes(), "KeyError") == {"studies that cannot be resumed": 1}


def test_a_trial_that_the_storage_lost_is_counted() -> None:
    gone = [TRIALS[0], trial(2, TrialState.PRUNED, condemned=True)]
    assert found(gone, notes())["trials lost that had ended"] == 1


def test_those_without_this_package_are_left_out_of_the_sum() -> None:
    rows = [
        Counted("sqlite, killed; plain", "trials lost that had ended", 2, 10, "0"),
        Counted("sqlite, killed; a rule", "trials lost that had ended", 1, 10, "0"),
        Counted("journal, killed; keep=1/4", "trials lost that had ended", 3, 20, "0"),
    ]
    assert over_all(rows) == [Counted("all of ours", "trials lost that had ended", 4, 30, "0")]


def test_two_thousand_trials_and_each_fault_on_its_storage() -> None:
    ours = [case for case in CASES if case.judged != "plain"]
    assert sum(case.trials for case in ours) >= 2000
    assert {(case.kind, case.fault) for case in ours if case.fault != "killed"} == set(BROKEN)
    assert PRUNERS["CertifiedRule"].rule is RULE  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("kind", "judged"),
    [
        ("sqlite", "CertifiedRule"),
        ("postgresql", "CertifiedRule"),
        ("journal", "keep=1/4"),
    ],
)
@pytest.mark.slow
def test_eight_processes_that_are_killed(
    kind: str, judged: str, request: pytest.FixtureRequest
) -> None:
    if kind == "postgresql":
        request.getfixturevalue("postgresql_server")  # or it is skipped
    case = Case(kind, judged, "killed", trials=24)
    seen = run(case, random.Random(0), time.monotonic() + 300)
    rows = figures(str(case), judged, seen)
    assert faults(rows) == {}
    assert seen.kills
    assert not seen.missing
