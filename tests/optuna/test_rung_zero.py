from __future__ import annotations

import math
import warnings
from fractions import Fraction
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import optuna
import pytest
from optuna.storages import InMemoryStorage, RetryHeartbeatStaleTrialCallback
from optuna.study import Study
from optuna.trial import FixedTrial, FrozenTrial, Trial, TrialState
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
    Comparison,
    Standing,
    Training,
    chance,
    drawn,
    goes_on,
    stored,
    turned_down,
)
from tests.optuna.ranked_study import TRAINING, ByLoss, judge, study_of, tried
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
