"""Studies whose trials are asked whether they fit."""

from __future__ import annotations

from typing import Any

import optuna
import torch
from optuna.trial import Trial
from torch import nn
from torch.nn.functional import cross_entropy

import recent_prune as rp
from recent_prune.optuna import ReconstructionEntropyPruner, probe_trial
from recent_prune.rules import Verdict
from tests.optuna.studies import DIGITS

BATCHES = (DIGITS.train, DIGITS.train_labels)


def new_study(**given: Any) -> optuna.Study:
    return optuna.create_study(pruner=ReconstructionEntropyPruner(), **given)


def training(model: nn.Module | None = None, **given: Any) -> rp.Training:
    return rp.Training(cross_entropy, lambda p: torch.optim.Adam(p, 1e-3), **given)


def judged(trial: Trial, model: nn.Module, limits: rp.Limits, **given: Any) -> Verdict:
    return probe_trial(trial, model, BATCHES, training=training(**given), preflight=limits)
