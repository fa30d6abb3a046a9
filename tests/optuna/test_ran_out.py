from __future__ import annotations

import gc
import weakref

import optuna
import pytest
import torch
from optuna.trial import Trial, TrialState
from torch import nn

import recent_prune as rp
from recent_prune.optuna import (
    attributes,
    out_of_memory,
)
from recent_prune.optuna.ran_out import learnt
from tests.networks import mlp
from tests.optuna.limited_study import BATCHES, judged, new_study, training


def test_prunes_records_and_goes_on() -> None:
    held: list[weakref.ref[nn.Module]] = []

    @out_of_memory
    def objective(trial: Trial) -> float:
        model = mlp(depth=2)
        held.append(weakref.ref(model))
        judged(trial, model, rp.Limits(memory=1e9))
        if trial.number == 0:
            torch.empty(10**15)
        return 1.0

    study = new_study()
    study.optimize(objective, n_trials=2)
    first, second = study.trials
    assert (first.state, second.state) == (TrialState.PRUNED, TrialState.COMPLETE)
    told = first.user_attrs[attributes.OUT_OF_MEMORY]
    assert told["told"].startswith("Out of memory: [enforce fail at alloc_cpu")
    assert told["estimate"] == first.user_attrs[attributes.PREFLIGHT]["memory"]
    assert told["available"] == 10**9
    assert first.constraints[attributes.CONSTRAINT] > 0
    assert attributes.OUT_OF_MEMORY not in second.user_attrs
    gc.collect()
    assert held[0]() is None


def test_other_errors_are_raised_as_they_were() -> None:
    @out_of_memory
    def objective(trial: Trial) -> float:
        raise RuntimeError("shapes")

    study = new_study()
    with pytest.raises(RuntimeError, match=r"^shapes$"):
        study.optimize(objective, n_trials=1)
    assert study.trials[0].state == TrialState.FAIL
    assert attributes.OUT_OF_MEMORY not in study.trials[0].user_attrs


def test_an_unjudged_trial_is_recorded_as_well() -> None:
    @out_of_memory
    def objective(trial: Trial) -> float:
        raise MemoryError

    study = new_study()
    study.optimize(objective, n_trials=1)
    told = study.trials[0].user_attrs[attributes.OUT_OF_MEMORY]
    assert (told["estimate"], told["available"]) == (None, None)


def test_keeps_the_name_of_the_objective() -> None:
    def objective(trial: Trial) -> float:
        return 1.0

    assert out_of_memory(objective).__name__ == "objective"


def test_a_like_trial_is_condemned_afterwards() -> None:
    """The limit says 10 % more than the estimate, but memory ran out all the same."""
    study = new_study()
    memory = rp.preflight(mlp(depth=3), BATCHES, training()).memory.value
    limits = rp.Limits(memory=1.1 * memory)

    @out_of_memory
    def objective(trial: Trial) -> float:
        if not judged(trial, mlp(depth=3), limits).trainable:
            raise optuna.TrialPruned
        raise MemoryError

    study.optimize(objective, n_trials=2)
    first, second = study.trials
    assert attributes.OUT_OF_MEMORY in first.user_attrs
    assert second.user_attrs[attributes.CAUSE] == "too_large"
    assert learnt(study) == pytest.approx(1.1, rel=1e-3)
    smaller = study.ask()
    assert judged(smaller, mlp(depth=1), limits).trainable


@pytest.mark.parametrize("told", ["another ran", "one as large completed"])
def test_nothing_is_learnt_where_the_estimate_need_not_be_wrong(told: str) -> None:
    study = new_study()
    memory = rp.preflight(mlp(depth=3), BATCHES, training()).memory.value
    limits = rp.Limits(memory=1.1 * memory)
    if told == "another ran":
        study.ask()
    else:
        fine = study.ask()
        judged(fine, mlp(depth=3), limits)
        study.tell(fine, 1.0)

    @out_of_memory
    def objective(trial: Trial) -> float:
        judged(trial, mlp(depth=3), limits)
        raise MemoryError

    study.optimize(objective, n_trials=1)
    assert attributes.OUT_OF_MEMORY in study.trials[-1].user_attrs
    assert learnt(study) is None
    assert judged(study.ask(), mlp(depth=3), limits).trainable


def test_an_objective_may_be_a_method() -> None:
    class Objective:
        @out_of_memory
        def __call__(self, trial: Trial) -> float:
            raise MemoryError

    study = new_study()
    study.optimize(Objective(), n_trials=1)
    assert study.trials[0].state == TrialState.PRUNED


def test_nothing_is_learnt_from_what_no_estimate_explains() -> None:
    study = new_study()

    @out_of_memory
    def objective(trial: Trial) -> float:
        judged(trial, mlp(depth=2), rp.Limits(memory=1e9))
        raise MemoryError

    study.optimize(objective, n_trials=1)
    assert learnt(study) is None
    assert learnt(None) is None
