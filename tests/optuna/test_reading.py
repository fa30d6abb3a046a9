from __future__ import annotations

import gc

import optuna
import pytest
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from recent_prune.optuna.reading import OfStudies, Reader


def numbers(trials: list[FrozenTrial]) -> list[int]:
    return [trial.number for trial in trials]


def read(reader: Reader, study: Study) -> tuple[list[int], list[int]]:
    ended, going_on = reader.read(study)
    return numbers(ended), numbers(going_on)


@pytest.mark.parametrize("storage", [None, "sqlite:///:memory:"])
def test_each_trial_that_has_ended_is_given_once(storage: str | None) -> None:
    study = optuna.create_study(storage=storage)
    reader = Reader()
    assert read(reader, study) == ([], [])
    trials = [study.ask() for _ in range(3)]
    study.tell(trials[1], 0.5)
    assert read(reader, study) == ([1], [0, 2])
    assert read(reader, study) == ([], [0, 2])
    study.tell(trials[2], state=TrialState.FAIL)
    study.enqueue_trial({"x": 1.0})
    study.ask()
    study.enqueue_trial({"x": 2.0})
    assert read(reader, study) == ([2], [0, 3, 4])
    study.tell(trials[0], state=TrialState.PRUNED)
    assert read(reader, study) == ([0], [3, 4])


def test_what_is_known_of_a_study_goes_with_it() -> None:
    made: list[list[int]] = []

    def new() -> list[int]:
        made.append([])
        return made[-1]

    known = OfStudies(new)
    first, second = optuna.create_study(), optuna.create_study()
    assert known[first] is known[first]
    assert known[second] is not known[first]
    assert len(made) == 2
    del first
    gc.collect()
    assert len(known._known) == 1
