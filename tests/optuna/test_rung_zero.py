from __future__ import annotations

import math
import warnings
from fractions import Fraction
from typing import Any
from unittest import mock

import numpy as np
import optuna
import pytest
from optuna.trial import FixedTrial, TrialState
from torch import nn

import recent_prune as rp
from recent_prune.data import load_digits
from recent_prune.optuna import (
    RankingAudit,
    ReconstructionEntropyPruner,
    attributes,
    audit,
    probe_trial,
    rung_zero,
)
from recent_prune.optuna.objective import _judged
from recent_prune.rules.certified import CertifiedRule
from recent_prune.rules.rung_zero import (
    chance,
)
from tests.optuna.ranked_study import TRAINING, ByLoss, study_of, tried
from tests.rules.results import result as made
from tests.rules.steps import DIVERGED, steps

DIGITS = load_digits()


def test_the_best_share_is_trained_and_told_why() -> None:
    study = study_of(keep=1 / 4)
    states = [tried(study, loss).state.name for loss in (2.0, 1.5, 3.0, 1.0, 2.5, 0.5, 4.0, 0.9)]
    assert states[:3] == ["PRUNED"] * 3
    assert states[3] == "COMPLETE"
    assert states[5] == "COMPLETE"
    assert states.count("COMPLETE") == 2 + (states[7] == "COMPLETE")
    last = study.trials[6].user_attrs
    assert last["told"].startswith(
        "Rank 7 of 7 candidates so far by its first steps; the best 0.25 of them are trained. "
    )
    assert last[attributes.RANK_SCORE] == -4.0
    assert last[attributes.RANK_ERROR] is None  # this rule does not say
    assert last[attributes.STOPPED] is True
    assert last[attributes.TRAINABLE] is True
    assert last[attributes.RUNG_ZERO] == {
        "rank": 7,
        "of": 7,
        "keep": 0.25,
        "best": False,
        "explored": False,
        "share": 0.0,
        "by": "ByLoss",
    }
    assert study.trials[5].user_attrs[attributes.STOPPED] is False
    told = [trial.constraints[attributes.CONSTRAINT] for trial in study.trials]
    assert told[5] == 0  # it is trained
    assert 0 < told[1] < told[0] < told[2] < told[6] < 1  # by their losses, 1.5 to 4


def test_how_sure_the_score_is_stands_beside_it() -> None:
    pruner = ReconstructionEntropyPruner(keep=1 / 4)
    study = optuna.create_study(pruner=pruner)
    for known in (steps(), DIVERGED):
        result = made([0.5, 0.4], steps=known)
        with mock.patch("recent_prune.optuna.objective.ready", return_value=lambda r=result: r):
            trial = study.ask()
            probe_trial(trial, nn.Identity(), [], training=TRAINING)
        ranking = rp.TrainabilityRule.ranking(result)
        assert ranking is not None
        assert trial.user_attrs[attributes.RANK_SCORE] == pytest.approx(ranking.share, rel=1e-5)
        assert trial.user_attrs[attributes.RANK_ERROR] == pytest.approx(ranking.error, rel=1e-5)


def test_condemned_trials_are_candidates_too() -> None:
    study = study_of(keep=1 / 2)
    first = tried(study, 20.0)
    assert first.state == TrialState.PRUNED
    assert first.user_attrs[attributes.TRAINABLE] is False
    assert first.user_attrs["told"] == "By its loss."
    assert first.constraints[attributes.CONSTRAINT] == 2
    rung = first.user_attrs[attributes.RUNG_ZERO]
    assert (rung["best"], rung["explored"], rung["share"]) == (False, False, 0)
    assert first.user_attrs[attributes.STOPPED] is False
    second = tried(study, 1.0)
    assert second.user_attrs[attributes.RUNG_ZERO]["of"] == 2
    assert second.state == TrialState.COMPLETE


def test_some_of_the_others_go_on_at_random_with_a_known_share() -> None:
    study = study_of(keep=1 / 8, explore=7 / 9)
    for number in range(80):  # each is worse than all before it, and every fourth is condemned
        tried(study, 20.0 if number % 4 == 3 else 1.0 + number / 10)
    rungs = [t.user_attrs[attributes.RUNG_ZERO] for t in study.trials]
    fine = [t.user_attrs[attributes.TRAINABLE] for t in study.trials]
    assert rungs[0]["share"] == pytest.approx(0.5)
    for number, rung in enumerate(rungs):
        if not rung["best"]:
            condemned = (number // 4) / (1 + number)
            expected = chance(7 / 9, rung["keep"], condemned) if fine[number] else 0
            assert rung["share"] == pytest.approx(expected, abs=1e-5)
    assert 20 < sum(rung["explored"] for rung in rungs) < 55
    trained = [t.state == TrialState.COMPLETE for t in study.trials]
    assert trained == [rung["best"] or rung["explored"] for rung in rungs]


def test_those_that_cannot_go_on_leave_the_drawn_ones_their_share_of_the_trainings() -> None:
    study = study_of(keep=1 / 8, explore=1 / 3)
    for number, loss in enumerate(np.random.default_rng(0).random(400)):
        tried(study, 20.0 if number % 2 else loss)
    rungs = [t.user_attrs[attributes.RUNG_ZERO] for t in study.trials]
    best, explored = (sum(rung[name] for rung in rungs) for name in ("best", "explored"))
    assert explored / (best + explored) == pytest.approx(1 / 3, abs=0.1)


def test_those_that_were_only_stopped_are_not_taken_for_condemned() -> None:
    study = study_of(keep=1 / 8, explore=0.0)
    for loss in np.random.default_rng(0).random(40):
        tried(study, loss)
    study.pruner = ReconstructionEntropyPruner(ByLoss(), keep=1 / 8, explore=1 / 3)
    place = tried(study, 2.0).user_attrs[attributes.RUNG_ZERO]
    assert place["share"] == pytest.approx(chance(1 / 3, place["keep"]))


def test_what_made_no_first_steps_goes_on_and_is_no_candidate() -> None:
    """A callback of Lightning looks at the initialization alone where no step can be made."""
    study = study_of(keep=1 / 8)
    trial = study.ask()
    verdict = _judged(lambda: made([0.5, 0.4]), trial, rp.TrainabilityRule())
    assert verdict.trainable
    assert not trial.should_prune()
    assert not rung_zero.candidates(study)


@pytest.mark.parametrize("meaning", [True, False])
def test_a_ranking_that_does_not_hold_is_turned_down(meaning: bool) -> None:
    study = study_of(keep=1 / 8, explore=0.58)
    losses, drawn = np.random.default_rng(0).random((2, 160))
    for loss, value in zip(losses, drawn, strict=True):
        tried(study, loss, loss if meaning else value)
    rungs = [trial.user_attrs[attributes.RUNG_ZERO] for trial in study.trials]
    assert rungs[8]["keep"] == 1 / 8
    last = [rung["keep"] for rung in rungs[-20:]]
    assert max(last) == 1 / 8 if meaning else min(last) > 1 / 3


def test_what_a_ranking_is_worth() -> None:
    study = study_of(keep=1 / 2, explore=0.5)
    for loss in (3.0, 1.0, 20.0, 4.0):
        tried(study, loss)
    stopped_later = study.ask()
    stopped_later.report(0.5, step=3)
    for key, value in study.trials[1].user_attrs.items():
        own = stopped_later.number if key == attributes.TRIAL else value
        stopped_later.set_user_attr(key, own)
    study.tell(stopped_later, state=TrialState.PRUNED)
    with pytest.warns(UserWarning, match="The value nan is not acceptable"):
        assert tried(study, 1.5, value=math.nan).state == TrialState.FAIL
    audited = audit(study)
    assert isinstance(audited, RankingAudit)
    found = audited.worth
    # First: the trainings with 1.0 and 0.5, the latter cut short; others: those with 3.0 and 4.0.
    assert (found.first, found.others) == (2, 2)
    assert found.superiority == 0.5


def test_a_failed_probe_keeps_its_trial_and_is_no_candidate() -> None:
    study = study_of(keep=1 / 8)
    trial = study.ask()
    with (
        mock.patch(
            "recent_prune.optuna.objective.ready",
            return_value=mock.Mock(side_effect=RuntimeError("no")),
        ),
        pytest.warns(UserWarning, match="The probe failed"),
    ):
        probe_trial(trial, nn.Identity(), [], training=TRAINING)
    assert not trial.should_prune()
    study.tell(trial, 1.0)
    assert tried(study, 1.0).user_attrs[attributes.RUNG_ZERO]["of"] == 1


def test_nothing_is_ranked_where_all_are_kept() -> None:
    study = study_of(keep=1.0)
    assert tried(study, 3.0).state == TrialState.COMPLETE
    assert attributes.RUNG_ZERO not in study.trials[0].user_attrs


def test_a_trial_without_a_study_is_not_ranked() -> None:
    result = made([0.5, 0.4], steps=steps())
    with mock.patch("recent_prune.optuna.objective.ready", return_value=lambda: result):
        assert probe_trial(FixedTrial({}), nn.Identity(), []).trainable


@pytest.mark.parametrize("keep", [0, -0.5, 1.5, "half", float("nan"), True])
def test_shares_out_of_range(keep: Any) -> None:
    with pytest.raises(ValueError, match=r"`keep` must be in \(0, 1\], but got"):
        ReconstructionEntropyPruner(keep=keep)


def test_a_share_may_be_a_fraction() -> None:
    assert ReconstructionEntropyPruner(keep=Fraction(1, 4)).keep == 0.25  # type: ignore[arg-type]


@pytest.mark.parametrize("explore", [-0.1, 1.0, "some"])
def test_explored_shares_out_of_range(explore: Any) -> None:
    with pytest.raises(ValueError, match=r"`explore` must be in \[0, 1\), but got"):
        ReconstructionEntropyPruner(keep=0.5, explore=explore)


def test_what_does_not_go_together() -> None:
    with pytest.raises(ValueError, match="`keep` must be 1 for a CertifiedRule"):
        ReconstructionEntropyPruner(CertifiedRule(better_than=0.9), keep=0.5)
    model = rp.networks.mlp(64, 10, depth=2, width=16)
    trial = study_of(keep=0.5).ask()
    with pytest.raises(ValueError, match=r"ranked by their first steps: give probe_trial\(…, tr"):
        probe_trial(trial, model, DIGITS.train)
    two = study_of(keep=0.5, directions=["minimize", "maximize"])
    with pytest.raises(ValueError, match="prunes no trial of a study with 2 objectives"):
        tried(two, 1.0)


@pytest.mark.parametrize("sampler", ["TPESampler", "GPSampler", "RandomSampler", "NSGAIISampler"])
def test_samplers_go_on_from_candidates_that_were_not_trained(sampler: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = study_of(keep=1 / 3, sampler=getattr(optuna.samplers, sampler)(seed=0))
    heard = sampler != "GPSampler"
    for _ in range(14):
        trial = study.ask()
        x = trial.suggest_float("x", 0, 5)
        result = made([0.5, 0.4], steps=steps(loss_after=x + 0.1))
        given = mock.patch("recent_prune.optuna.objective.ready", return_value=lambda r=result: r)
        with given, warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            probe_trial(trial, nn.Identity(), [], training=TRAINING)
        if trial.should_prune():
            assert heard or "GPSampler learns from completed trials" in str(warned[-1].message)
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, x)
    states = [t.state for t in study.trials]
    assert 1 <= states.count(TrialState.COMPLETE) <= 9
    assert study.best_value <= min(t.params["x"] for t in study.trials) + 1.5
