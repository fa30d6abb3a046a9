from __future__ import annotations

from typing import Any

import optuna
import pytest
import torch
from optuna.trial import Trial, TrialState
from torch import Tensor, nn

import recent_prune as rp
from recent_prune.audit import RankingAudit
from recent_prune.data import load_digits
from recent_prune.optuna import ReconstructionEntropyPruner, ask_best, attributes, audit
from tests.optuna.ranked_study import ByLoss

DIGITS = load_digits()
BATCHES = (DIGITS.train[:256], DIGITS.train_labels[:256])
LOSS = nn.CrossEntropyLoss()


def build(trial: Trial) -> tuple[nn.Module, rp.Training]:
    rate = trial.suggest_float("lr", 1e-6, 1e-1, log=True)
    model = rp.networks.mlp(64, 10, depth=2, width=16, seed=trial.number)
    return model, rp.Training(LOSS, torch.optim.Adam(model.parameters(), rate), steps=4)


def study_of(**settings: Any) -> optuna.Study:
    sampler = optuna.samplers.RandomSampler(seed=0)
    return optuna.create_study(sampler=sampler, **{"study_name": "asked", **settings})


class Broken(nn.Module):
    """Cannot be called."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        raise RuntimeError("no forward")


def test_gives_the_best_and_tells_the_others() -> None:
    study = study_of(pruner=ReconstructionEntropyPruner(ByLoss()))
    before = torch.get_rng_state()
    asked = ask_best(study, build, BATCHES, candidates=6, explore=0.0)
    assert torch.equal(before, torch.get_rng_state())
    states = [trial.state for trial in study.trials]
    assert states.count(TrialState.PRUNED) == 5
    assert study.trials[asked.trial.number].state == TrialState.RUNNING
    rates = {trial.number: trial.params["lr"] for trial in study.trials}
    assert rates[asked.trial.number] > sorted(rates.values())[2]  # six steps of a slow one do less
    rungs = [trial.user_attrs[attributes.RUNG_ZERO] for trial in study.trials]
    assert sorted(rung["rank"] for rung in rungs) == [1, 2, 3, 4, 5, 6]
    own = rungs[asked.trial.number]
    assert own == {
        "rank": 1,
        "of": 6,
        "keep": 0.166667,
        "best": True,
        "explored": False,
        "share": 1.0,
        "by": "ByLoss",
    }
    stopped = [trial for trial in study.trials if trial.state == TrialState.PRUNED]
    assert all(0 < trial.constraints[attributes.CONSTRAINT] <= 1 for trial in stopped)
    study.tell(asked.trial, 0.5)
    assert study.best_trial.number == asked.trial.number


def test_the_model_is_as_it_was_built() -> None:
    asked = ask_best(study_of(), build, BATCHES, candidates=2)
    fresh = rp.networks.mlp(64, 10, depth=2, width=16, seed=asked.trial.number)
    for one, other in zip(asked.model.parameters(), fresh.parameters(), strict=True):
        assert torch.equal(one, other)
    assert not asked.training.optimizer.state  # type: ignore[union-attr]


def test_some_are_drawn_with_a_known_share() -> None:
    study = study_of(pruner=ReconstructionEntropyPruner(ByLoss()))
    for _ in range(12):
        study.tell(ask_best(study, build, BATCHES, candidates=3, explore=0.6).trial, 1.0)
    rungs = [trial.user_attrs[attributes.RUNG_ZERO] for trial in study.trials]
    assert sum(rung["best"] or rung["explored"] for rung in rungs) == 12
    assert 1 <= sum(rung["explored"] for rung in rungs) <= 11
    assert {round(rung["share"], 3) for rung in rungs} == {0.2, 0.6}
    found = audit(study)
    assert isinstance(found, RankingAudit)
    assert found.over_time["trained"].sum() == 12


class Condemns:
    """Everything."""

    def __call__(self, result: rp.ProbeResult) -> rp.Verdict:
        del result
        return rp.Verdict(False, 1.0, "Nothing trains here.")


def test_a_space_in_which_nothing_trains() -> None:
    study = study_of()
    with pytest.raises(RuntimeError, match=r"All of 20 candidates .* Nothing trains here\. Is the"):
        ask_best(study, build, BATCHES, candidates=2, rule=Condemns())
    assert {trial.state for trial in study.trials} == {TrialState.PRUNED}
    assert len(study.trials) == 20


def test_one_that_cannot_be_probed_ranks_in_the_middle() -> None:
    def sometimes(trial: Trial) -> tuple[nn.Module, rp.Training]:
        if trial.number != 1:
            return build(trial)
        trial.suggest_float("lr", 1e-6, 1e-1, log=True)
        model = Broken()
        return model, rp.Training(LOSS, torch.optim.Adam(model.parameters()), steps=4)

    study = study_of()
    with pytest.warns(UserWarning, match="so the candidate ranks in the middle: .*no forward"):
        ask_best(study, sometimes, BATCHES, candidates=3, explore=0.0)
    broken = study.trials[1].user_attrs
    assert "no forward" in broken[attributes.FAULT]
    assert broken[attributes.RUNG_ZERO]["rank"] in (2, 3)  # that of the median, or beside it


def test_where_none_can_be_probed_one_is_trained_all_the_same() -> None:
    def broken(trial: Trial) -> tuple[nn.Module, rp.Training]:
        trial.suggest_float("lr", 1e-6, 1e-1, log=True)
        model = Broken()
        return model, rp.Training(LOSS, torch.optim.Adam(model.parameters()), steps=4)

    with pytest.warns(UserWarning, match="no forward"):
        assert ask_best(study_of(), broken, BATCHES, candidates=2).verdict.trainable


def test_a_model_that_cannot_be_built_fails_its_trials() -> None:
    def fails(trial: Trial) -> tuple[nn.Module, rp.Training]:
        if trial.number == 1:
            raise ZeroDivisionError("no model")
        return build(trial)

    study = study_of()
    with pytest.raises(ZeroDivisionError, match="no model"):
        ask_best(study, fails, BATCHES, candidates=3)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL] * 2


def test_bad_arguments() -> None:
    study = study_of()
    with pytest.raises(ValueError, match=r"`candidates` must be a whole number .* 2, .* 1"):
        ask_best(study, build, BATCHES, candidates=1)
    with pytest.raises(ValueError, match=r"`explore` must be in \[0, 1\), but got 1"):
        ask_best(study, build, BATCHES, explore=1)
    with pytest.raises(TypeError, match="`build` must return a model and a Training, but got Lin"):
        ask_best(study, lambda _: nn.Linear(2, 2), BATCHES)  # type: ignore[arg-type,return-value]
    two = study_of(directions=["minimize", "maximize"])
    with pytest.raises(TypeError, match=r"`rule` must be a rule .*, but got <class .*Trainability"):
        ask_best(study_of(), build, BATCHES, rule=rp.TrainabilityRule)  # type: ignore[arg-type]
    certified = ReconstructionEntropyPruner(rp.CertifiedRule(better_than=0.5))
    with pytest.raises(ValueError, match=r"`rule` must be one that ranks .*, but got Certif"):
        ask_best(study_of(pruner=certified), build, BATCHES)
    with pytest.raises(ValueError, match="`study` must have one objective, but got 2"):
        ask_best(two, build, BATCHES)
    ranks = study_of(pruner=ReconstructionEntropyPruner(keep=1 / 8))
    with pytest.raises(ValueError, match=r"ranks candidates by itself \(keep=0.125\)"):
        ask_best(ranks, build, BATCHES)


def test_candidates_that_are_pruned_as_they_are_built_are_left_out() -> None:
    def pruning(trial: Trial) -> tuple[nn.Module, rp.Training]:
        if trial.number % 2:
            raise optuna.TrialPruned("invalid")
        return build(trial)

    study = study_of()
    asked = ask_best(study, pruning, BATCHES, candidates=4, explore=0.0)
    assert asked.trial.number in (0, 2)
    assert [trial.state for trial in study.trials].count(TrialState.PRUNED) == 3
    assert attributes.RUNG_ZERO not in study.trials[1].user_attrs


def test_where_all_are_pruned_it_ends() -> None:
    def pruning(trial: Trial) -> tuple[nn.Module, rp.Training]:
        raise optuna.TrialPruned

    with pytest.raises(RuntimeError, match=r"All of 20 candidates were pruned by `build`\. Is the"):
        ask_best(study_of(), pruning, BATCHES, candidates=2)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_error_of_the_loader_or_the_rule_no_candidate_is_left_running(
    error: type[BaseException],
) -> None:
    def broken(result: rp.ProbeResult) -> rp.Verdict:
        raise error("no")

    study = study_of()
    with pytest.raises(error, match="no"):
        ask_best(study, build, BATCHES, candidates=3, rule=broken)
    assert {trial.state for trial in study.trials} == {TrialState.FAIL}
