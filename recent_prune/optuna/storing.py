"""What is written to a trial, and who is warned."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.samplers import GPSampler
from optuna.trial import BaseTrial, Trial

from recent_prune.optuna import attributes, rung_zero
from recent_prune.optuna.pruner import ReconstructionEntropyPruner
from recent_prune.rules import Verdict

PACKAGE = "recent_prune."


def store(
    trial: BaseTrial, verdict: Verdict, known: Mapping[str, Any], written: Sequence[str] = ()
) -> None:
    """Write attributes and constraint; of a trial that this one retries, nothing is left."""
    set_constraint(trial, rung_zero.told(verdict.violation, known))
    stale = attributes.stale(trial.user_attrs, {*known, *written})
    for key, value in {**stale, **known}.items():
        trial.set_user_attr(key, value)


def warn_if_nobody_prunes(trial: BaseTrial) -> None:
    """Of a trial that is condemned, in a study of another pruner."""
    if not isinstance(trial, Trial) or len(trial.study.directions) > 1:
        return
    if not isinstance(trial.study.pruner, ReconstructionEntropyPruner):
        message = (
            "A condemned trial's should_prune() will not say so, since the study's pruner is "
            f"{type(trial.study.pruner).__name__}: give ReconstructionEntropyPruner to "
            "create_study and load_study, with other pruners wrapped in it. (Trials that run all "
            "the same are infeasible to Optuna, so best_trial passes them over.)"
        )
        warnings.warn(message, stacklevel=caller())


def warn_if_nobody_learns(trial: BaseTrial) -> None:
    """Of a trial that will be pruned, in a study whose sampler does not hear of it."""
    if isinstance(trial, Trial) and isinstance(trial.study.sampler, GPSampler):
        message = (
            "GPSampler learns from completed trials alone, so that it may propose a pruned trial's "
            "parameters again and again: give TPESampler, or return a bad value where a trial is "
            "condemned, instead of raising TrialPruned."
        )
        warnings.warn(message, stacklevel=caller())


def caller() -> int:
    """The `stacklevel` of the user's line, for a warning of the function that asks."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(PACKAGE):
        level, frame = level + 1, frame.f_back
    return level


def set_constraint(trial: BaseTrial, violation: float) -> None:
    """Write the graded violation, also over an earlier one."""
    if attributes.CONSTRAINT not in trial.constraints:
        trial.set_constraint(attributes.CONSTRAINT, violation)
    elif isinstance(trial, Trial) and trial.constraints[attributes.CONSTRAINT] != violation:
        # A retried trial brings its predecessor's constraint along, and set_constraint keeps the
        # first value: a trial that is now found trainable would stay infeasible.
        key = f"constraints:{attributes.CONSTRAINT}"
        trial.storage.set_trial_system_attr(trial._trial_id, key, violation)
