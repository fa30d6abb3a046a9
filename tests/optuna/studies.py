"""A real objective, small enough to run by the dozen."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
import torch
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState
from torch import nn

from recent_prune.data import load_digits
from recent_prune.optuna import ReconstructionEntropyPruner, probe_trial
from recent_prune.optuna.attributes import TRAINABLE
from tests.networks import mlp
from tests.processes import do_not_wait_for_the_disk

EPOCHS = 3
DIGITS = load_digits().head(256, 100)
"""A search space in which about half of the initializations cannot train."""


def build(trial: Trial) -> nn.Module:
    """Suggest everything, then build."""
    return mlp(
        depth=trial.suggest_int("depth", 1, 48),
        weight_variance=trial.suggest_float("weight_variance", 0.05, 4.0, log=True),
        seed=trial.number,
    )


def objective(trial: Trial) -> float:
    """Probe, then train for three epochs unless pruned."""
    model = build(trial)
    verdict = probe_trial(trial, model, DIGITS.train)
    if trial.should_prune():
        raise optuna.TrialPruned(verdict.reason)
    return train(trial, model)


def failing(trial: Trial) -> float:
    """The probe of a network that cannot be run, which is kept."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(63, 10))
    with pytest.warns(UserWarning, match="The probe failed, so the trial is kept unjudged"):
        verdict = probe_trial(trial, model, DIGITS.train)
    assert verdict.trainable
    return 0.1


def train(trial: Trial, model: nn.Module) -> float:
    """Report the test accuracy after each epoch."""
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    accuracy = 0.0
    for epoch in range(EPOCHS):
        for x, y in zip(DIGITS.train.split(64), DIGITS.train_labels.split(64), strict=True):
            loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            hits = model(DIGITS.test).argmax(dim=1) == DIGITS.test_labels
        accuracy = float(hits.float().mean())
        trial.report(accuracy, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    return accuracy


def run(
    trials: int = 12,
    *,
    storage: str | BaseStorage | None = None,
    wrapped: BasePruner | None = None,
    sampler: BaseSampler | None = None,
    jobs: int = 1,
    name: str = "study",
) -> Study:
    """Run the objective under the pruner."""
    study = optuna.create_study(
        storage=storage,
        study_name=name,
        sampler=sampler or optuna.samplers.RandomSampler(seed=0),
        pruner=ReconstructionEntropyPruner(wrapped_pruner=wrapped),
        direction="maximize",
        load_if_exists=True,
    )
    study.optimize(objective, n_trials=trials, n_jobs=jobs)
    return study


def condemned(study: Study) -> list[FrozenTrial]:
    """Trials that the probe condemned."""
    return [t for t in study.trials if t.user_attrs.get(TRAINABLE) is False]


def check(study: Study, trials: int) -> None:
    """What holds of every study under the pruner."""
    assert len(study.trials) == trials
    assert {t.state for t in study.trials} <= {TrialState.COMPLETE, TrialState.PRUNED}
    dead = condemned(study)
    assert 0 < len(dead) < trials
    for trial in study.trials:
        assert TRAINABLE in trial.user_attrs
        assert (trial.constraints["recent_prune"] > 0) == (trial in dead)
        if trial in dead:
            assert trial.state == TrialState.PRUNED
            assert trial.intermediate_values == {}
    assert study.best_trial not in dead


def run_in_process(folder: Path, trials: int) -> None:
    """For several processes on one storage."""
    torch.set_num_threads(1)
    do_not_wait_for_the_disk()
    run(
        trials,
        storage=f"sqlite:///{folder / 'study.db'}",
        sampler=optuna.samplers.TPESampler(),
        wrapped=optuna.pruners.HyperbandPruner(max_resource=EPOCHS),
    )
