"""Trials to be probed, and what they are probed with."""

from __future__ import annotations

from typing import Any

import optuna
import torch
from torch.nn.functional import cross_entropy

from recent_prune.optuna import ReconstructionEntropyPruner
from recent_prune.probe import Training
from tests.optuna.studies import DIGITS

BAD = {"depth": 24, "weight_variance": 0.1}


def new_study(**arguments: object) -> optuna.Study:
    return optuna.create_study(pruner=ReconstructionEntropyPruner(), **arguments)  # type: ignore[arg-type]


BATCHES = (DIGITS.train, DIGITS.train_labels)


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, 0.1)


TRAINING = Training(cross_entropy, sgd, budget=300)
