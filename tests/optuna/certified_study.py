"""A study under a certified rule, fast: nothing is trained, but all is probed."""

from __future__ import annotations

from dataclasses import replace
from multiprocessing.synchronize import Barrier
from unittest import mock

import optuna
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import Trial
from torch import nn

import recent_prune as rp
from recent_prune.data import load_digits
from recent_prune.optuna import ReconstructionEntropyPruner, probe_trial
from recent_prune.rules.certified import FittedScore
from recent_prune.rules.certified.learned_score import learn_score
from tests.networks import mlp
from tests.processes import do_not_wait_for_the_disk
from tests.rules.results import result as made

INPUTS = load_digits().train[:64]
RULE = rp.CertifiedRule(better_than=0.7, max_false_prune_rate=0.2, confidence=0.8, audit_share=0.2)


def objective(trial: Trial) -> float:
    """Good where the network is shallow; a deep one loses its input as well."""
    depth = trial.suggest_int("depth", 1, 40)
    trial.suggest_float("lr", 1e-5, 1e-1, log=True)
    verdict = probe_trial(trial, mlp(depth=depth, weight_variance=1.0, seed=trial.number), INPUTS)
    if trial.should_prune():
        raise optuna.TrialPruned(verdict.reason)
    return 1 - depth / 40


def create(storage: str | BaseStorage | None = None, rule: rp.CertifiedRule = RULE) -> Study:
    """The study, new or as it was."""
    return optuna.create_study(
        storage=storage,
        study_name="certified",
        sampler=optuna.samplers.RandomSampler(),
        pruner=ReconstructionEntropyPruner(rule),
        direction="maximize",
        load_if_exists=True,
    )


def fit_with(intercept: float) -> FittedScore:
    """That condemns little."""
    score = replace(learn_score([], [], []), intercept=intercept)
    return FittedScore(score, threshold=-9.0, good_bound=0.7, calibrated_on=9, direction="maximize")


def tried(study: Study, count: int = 1) -> None:
    """Trials of which the probe is told, and whose training comes to nothing."""
    result = made([0.5, 0.4])
    for _ in range(count):
        trial = study.ask()
        with mock.patch("recent_prune.optuna.objective.ready", return_value=lambda: result):
            probe_trial(trial, nn.Identity(), [])
        study.tell(trial, 0.5)


def fit_together(storage: str, both: Barrier, number: int) -> None:
    """As one of two processes that fit at the same time, each something else."""

    def fit(*_: object) -> FittedScore:
        both.wait(timeout=200)
        return fit_with(intercept=float(number))

    do_not_wait_for_the_disk()
    study = create(storage)
    with mock.patch.object(rp.CertifiedRule, "fit", fit):
        tried(study)
    tried(study, 2)
