"""A study under a certified rule, fast: nothing is trained, but all is probed."""

from __future__ import annotations

import optuna
import torch
from optuna.study import Study
from optuna.trial import Trial

import recent_prune as rp
from recent_prune.data import load_digits
from recent_prune.optuna import ReconstructionEntropyPruner, probe_trial
from tests.networks import mlp
from tests.processes import do_not_wait_for_the_disk

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


def create(storage: str | None = None, rule: rp.CertifiedRule = RULE) -> Study:
    """The study, new or as it was."""
    return optuna.create_study(
        storage=storage,
        study_name="certified",
        sampler=optuna.samplers.RandomSampler(),
        pruner=ReconstructionEntropyPruner(rule),
        direction="maximize",
        load_if_exists=True,
    )


def work(storage: str, trials: int) -> None:
    """As one of several processes."""
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    do_not_wait_for_the_disk()
    create(storage).optimize(objective, n_trials=trials)
