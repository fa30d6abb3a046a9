"""Studies at rung zero in which nothing is probed or trained: what trials come to is given."""

from __future__ import annotations

from typing import Any
from unittest import mock

import numpy as np
import optuna
import torch
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState
from torch import nn

import recent_prune as rp
from recent_prune.optuna import ReconstructionEntropyPruner, probe_trial
from tests.rules.results import result as made
from tests.rules.steps import steps

TRAINING = rp.Training(nn.CrossEntropyLoss(), lambda p: torch.optim.SGD(p, 0.1))


class ByLoss:
    """Condemns what diverges, and ranks by the loss after the steps."""

    def __call__(self, result: rp.ProbeResult) -> rp.Verdict:
        assert result.steps is not None
        fine = result.steps.loss_after < 10
        return rp.Verdict(fine, 0.0 if fine else 1.0, "By its loss.")

    def score(self, result: rp.ProbeResult) -> float:
        assert result.steps is not None
        return -result.steps.loss_after


def study_of(keep: float, explore: float = 0.0, **settings: Any) -> Study:
    pruner = ReconstructionEntropyPruner(ByLoss(), keep=keep, explore=explore)
    return optuna.create_study(pruner=pruner, **{"study_name": "rung", **settings})


def judge(trial: Trial, loss: float) -> rp.Verdict:
    """As if the first steps had come to that loss."""
    result = made([0.5, 0.4], steps=steps(loss_after=loss))
    with mock.patch("recent_prune.optuna.objective.ready", return_value=lambda: result):
        return probe_trial(trial, nn.Identity(), [], training=TRAINING)


def tried(study: Study, loss: float, value: float | None = None) -> FrozenTrial:
    """A trial whose first steps came to that loss, as an objective would run it.

    Its training comes to the same, or to another value.
    """
    trial = study.ask()
    verdict = judge(trial, loss)
    if trial.should_prune():
        trial.set_user_attr("told", verdict.reason)
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, loss if value is None else value)
    return study.trials[trial.number]


def ranked_study(**settings: Any) -> Study:
    """Forty candidates, five of them condemned, of a ranking that holds."""
    study = study_of(keep=1 / 4, explore=0.4, **settings)
    for number, loss in enumerate(np.random.default_rng(0).random(40)):
        tried(study, 20.0 if number % 8 == 7 else loss, loss + 0.1)
    return study
