"""Candidates that were read before, are tried again, or come from another rule or study."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import optuna
import pytest
from optuna.storages import InMemoryStorage, RetryHeartbeatStaleTrialCallback
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from recent_prune.data import load_digits
from recent_prune.optuna import (
    ReconstructionEntropyPruner,
    attributes,
    rung_zero,
)
from recent_prune.rules.rung_zero import (
    Comparison,
    Standing,
    Training,
    drawn,
    goes_on,
    stored,
    turned_down,
)
from tests.optuna.ranked_study import ByLoss, judge, study_of, tried

DIGITS = load_digits()


def place_from_scratch(study: Study, own: FrozenTrial, keep: float) -> dict[str, Any]:
    """The textbook's: all candidates are looked at anew."""

    def key(trial: FrozenTrial) -> tuple[float, float]:
        ties = drawn(study.study_name, trial.number, "ties")
        return trial.user_attrs[attributes.RANK_SCORE], ties

    peers = [t for t in study.trials if t.number != own.number and attributes.is_ranked(t)]
    rungs = {t.number: t.user_attrs[attributes.RUNG_ZERO] for t in peers}
    ended = [(t, t.values[0]) for t in peers if t.state == TrialState.COMPLETE]
    trainings = [
        Training(key(t)[0], (math.inf, -value), rungs[t.number]["best"]) for t, value in ended
    ]
    share = turned_down(keep, Comparison(trainings).worth())
    due = share + sum(rung["keep"] for rung in rungs.values())
    gone_on = sum(rung["best"] for rung in rungs.values())
    rank = 1 + sum(key(peer) > key(own) for peer in peers)
    best = goes_on(Standing(rank, 1 + len(peers), gone_on, due), share)
    return {"rank": rank, "of": 1 + len(peers), "keep": stored(share), "best": best}


def test_what_was_read_before_counts_as_if_it_were_read_anew() -> None:
    """Two that read, trials that end in another order than they began, and some that never do."""
    storage = InMemoryStorage()
    studies = [
        study_of(keep=1 / 3, explore=0.4, storage=storage, load_if_exists=True) for _ in range(2)
    ]
    draw = np.random.default_rng(0)
    going_on: list[Trial] = []
    for loss, ends in draw.random((60, 2)):
        study = studies[int(draw.integers(2))]
        trial = study.ask()
        judge(trial, loss)
        own = study.trials[trial.number]
        found = own.user_attrs[attributes.RUNG_ZERO]
        assert {**found, **place_from_scratch(study, own, 1 / 3)} == found
        going_on.append(trial)
        if len(going_on) > 6:
            ended = going_on.pop(int(ends * 5))
            if ended.should_prune():
                studies[0].tell(ended, state=TrialState.PRUNED)
            else:
                studies[1].tell(ended, float(draw.random()))
    assert len({t.user_attrs[attributes.RUNG_ZERO]["keep"] for t in studies[0].trials}) > 3


def test_a_trial_takes_no_longer_after_many() -> None:
    study = study_of(keep=1 / 4)
    for loss in np.random.default_rng(0).random(40):
        tried(study, loss)
    with mock.patch.object(rung_zero, "drawn", wraps=drawn) as ties:
        tried(study, 0.5)
    # Of the trial itself, of the last one, which has ended since, and whether to explore.
    assert ties.call_count <= 3


def test_a_trial_that_is_probed_again_is_no_rival_of_itself() -> None:
    study = study_of(keep=1 / 2)
    tried(study, 1.0)
    trial = study.ask()
    for _ in range(2):
        judge(trial, 2.0)
        place = study.trials[1].user_attrs[attributes.RUNG_ZERO]
        assert (place["rank"], place["of"]) == (2, 2)


def test_processes_share_one_rung(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    first = study_of(keep=1 / 4, storage=storage)
    second = study_of(keep=1 / 4, storage=storage, load_if_exists=True)
    for number in range(3):
        tried((first, second)[number % 2], 2.0 + number)
    assert tried(second, 1.0).user_attrs[attributes.RUNG_ZERO]["of"] == 4


def test_scores_of_another_rule_are_nothing_to_compare_with() -> None:
    study = study_of(keep=1 / 4)
    for loss in (0.1, 0.2, 0.3, 0.4, 0.5):
        tried(study, loss)

    class ByLossAgain(ByLoss):
        """Of another name."""

    study.pruner = ReconstructionEntropyPruner(ByLossAgain(), keep=1 / 4)
    ranks = [tried(study, loss).user_attrs[attributes.RUNG_ZERO] for loss in (5.0, 4.0)]
    assert [(rung["rank"], rung["of"]) for rung in ranks] == [(1, 1), (1, 2)]
    assert len(rung_zero.candidates(study)) == 2
    study.pruner = ReconstructionEntropyPruner(ByLoss(), keep=1 / 4)
    rung = tried(study, 0.35).user_attrs[attributes.RUNG_ZERO]
    assert (rung["rank"], rung["of"]) == (4, 6)


@pytest.mark.parametrize("other_process", [False, True])
def test_a_trial_that_is_tried_again_is_no_rival_of_its_own(other_process: bool) -> None:
    study = study_of(keep=1 / 4)
    for loss in (2.0, 1.5, 3.0):
        tried(study, loss)
    good = study.ask()
    judge(good, 0.5)
    assert not good.should_prune()
    study.tell(good, state=TrialState.FAIL)  # its process was killed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        RetryHeartbeatStaleTrialCallback()(study, study.trials[good.number])
    again = study.ask()
    judge(again, 0.5)
    place = study.trials[again.number].user_attrs[attributes.RUNG_ZERO]
    assert (place["rank"], place["of"], place["best"]) == (1, 4, True)
    assert not again.should_prune()
    study.tell(again, 0.5)
    if other_process:
        study = study_again(study)
    last = tried(study, 1.0).user_attrs[attributes.RUNG_ZERO]
    assert (last["rank"], last["of"]) == (2, 5)


def study_again(study: Study) -> Study:
    """As another process would read it."""
    pruner = study.pruner
    return optuna.load_study(study_name="rung", storage=study._storage, pruner=pruner)


def test_attributes_that_are_copied_to_another_trial_are_not_its_own() -> None:
    study = study_of(keep=1 / 4)
    first = tried(study, 2.0)
    study.enqueue_trial({}, user_attrs=first.user_attrs)
    study.tell(study.ask(), 0.5)
    assert [attributes.is_probed(trial) for trial in study.trials] == [True, False]


def test_verdicts_are_taken_over_with_trials() -> None:
    first = study_of(keep=1 / 4)
    for loss in (2.0, 1.5, 20.0, 0.5):
        tried(first, loss)
    merged = study_of(keep=1 / 4)
    tried(merged, 3.0)
    merged.add_trials(first.trials)
    assert len(rung_zero.candidates(merged)) == 5
    assert [trial.number for trial in merged.trials if attributes.is_condemned(trial)] == [3]
    last = tried(merged, 0.4).user_attrs[attributes.RUNG_ZERO]
    assert (last["rank"], last["of"]) == (1, 6)
