"""Trials that ran out of memory all the same: they are pruned, and estimates learn from them."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import optuna
import torch
from optuna.study import Study
from optuna.trial import BaseTrial, FrozenTrial, TrialState

from recent_prune.optuna import attributes
from recent_prune.optuna.distributed import study_of
from recent_prune.optuna.storing import set_constraint
from recent_prune.probe.restoring.memory import is_out_of_memory
from recent_prune.probe.restoring.tracebacks import light
from recent_prune.rules.preflight import correction

P = ParamSpec("P")
T = TypeVar("T")

LEAST_VIOLATION = 0.01
"""Of a trial that ran out of memory though it was estimated to fit."""

logger = optuna.logging.get_logger(f"optuna.{__name__}")


def learnt(study: Study | None) -> float | None:
    """How many times its estimate a trial of this study needed at least; None where none told.

    A trial that ran out of memory needed more than there was, if it had that for itself: no other
    was running, in the whole study. Nothing is learnt where one that was estimated as high has
    completed.
    """
    if study is None:
        return None
    trials = study.get_trials(deepcopy=False)
    told = [(trial, trial.user_attrs.get(attributes.OUT_OF_MEMORY)) for trial in trials]
    own = [known for trial, known in told if known and known["trial"] == trial.number]
    completed = max(filter(None, map(_estimate_of_completed, trials)), default=0.0)
    return correction(
        (known["estimate"], known["available"])
        for known in own
        if known.get("alone", True) and (known["estimate"] or 0.0) > completed
    )


def _estimate_of_completed(trial: FrozenTrial) -> float | None:
    known = trial.user_attrs.get(attributes.PREFLIGHT) or {}
    return known.get("memory") if trial.state == TrialState.COMPLETE else None


def out_of_memory(objective: Callable[P, T]) -> Callable[P, T]:
    """Prune a trial that runs out of memory, and learn from it; the study goes on.

    What ran out of memory is told from every other error, which is raised as it was. The trial is
    pruned; ``recent_prune:out_of_memory`` says what had been estimated and what there was, by which
    later estimates of the study are corrected, and the constraint is violated. What the objective
    held is let go of, the GPU's cache included.

    Args:
        objective: Takes a trial. Or use it as a decorator, of a method as well.

    Example:
        .. code-block:: python

            @out_of_memory
            def objective(trial): ...
    """

    @functools.wraps(objective)
    def guarded(*given: P.args, **named: P.kwargs) -> T:
        try:
            return objective(*given, **named)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            told = f"Out of memory: {attributes.one_line(str(light(error)) or 'no message')}"
        # Outside of the handler, which holds the error and all that its frames hold.
        for trial in (*given, *named.values()):
            if isinstance(trial, BaseTrial):
                _record(trial, told)
        gc.collect()
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        raise optuna.TrialPruned(told)

    return guarded


def _others_run(trial: BaseTrial) -> bool:
    """Whether other trials run, or are left as running, which may have had the memory."""
    study = study_of(trial)
    if study is None:
        return False
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return any(other.number != trial.number for other in running)


def _record(trial: BaseTrial, told: str) -> None:
    known = trial.user_attrs.get(attributes.PREFLIGHT) or {}
    if known.get("trial") != trial.number:  # of a trial that this one retries
        known = {}
    estimate, available = known.get("memory"), known.get("free")
    if available is not None and torch.cuda.is_initialized():
        free = torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved()
        available = min(available, free)  # others may hold more than they did
    trial.set_user_attr(
        attributes.OUT_OF_MEMORY,
        {
            "estimate": estimate,
            "available": available,
            "alone": not _others_run(trial),
            "told": attributes.one_line(told),
            "trial": trial.number,
        },
    )
    missing = 1 - available / estimate if available and estimate else 0.0
    set_constraint(trial, max(missing, LEAST_VIOLATION))
    logger.info(told)
