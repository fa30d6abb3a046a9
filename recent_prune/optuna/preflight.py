"""Before a trial is probed: does it fit; and what is learnt where memory runs out all the same."""

from __future__ import annotations

import functools
import gc
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ParamSpec, TypeVar

import optuna
import torch
from optuna.study import Study
from optuna.trial import BaseTrial, FrozenTrial, TrialState
from torch import nn

from recent_prune.optuna import attributes
from recent_prune.optuna.distributed import is_shared, judged_by_the_first, study_of
from recent_prune.optuna.storing import caller, set_constraint, store, warn_if_nobody_prunes
from recent_prune.preflight import Estimate, Limits, PreflightResult, Room, preflight
from recent_prune.preflight.faking import ModelFactory
from recent_prune.probe import ProbeResult, Training
from recent_prune.probe.batches.calling import Call
from recent_prune.probe.batches.inputs import Inputs
from recent_prune.probe.restoring.memory import is_out_of_memory
from recent_prune.probe.restoring.tracebacks import light
from recent_prune.rules import PreflightRule, Verdict
from recent_prune.rules.fit import Fit
from recent_prune.rules.preflight import correction

P = ParamSpec("P")
T = TypeVar("T")

LEAST_VIOLATION = 0.01
"""Of a trial that ran out of memory though it was estimated to fit."""

logger = optuna.logging.get_logger(f"optuna.{__name__}")


@dataclass(frozen=True)
class Ahead:
    """What is known before a trial is probed.

    Attributes:
        verdict: On memory, by what was learnt from other trials, too; one whose preflight failed is
            kept.
        fit: Without what was learnt; None where the preflight failed, or another process judges.
        number: Of the trial.
    """

    verdict: Verdict
    fit: Fit | None = None
    number: int = -1

    def after(self, probed: ProbeResult, verdict: Verdict) -> tuple[Verdict, dict[str, Any]]:
        """The verdict when the first steps have told how long a step takes, and attributes."""
        if self.fit is None:
            return verdict, {}
        known = {attributes.PREFLIGHT: _stored(self.fit.after(probed), self.fit.rule, self.number)}
        return self.fit.verdict_after(probed, verdict), known


def preflight_trial(
    trial: BaseTrial,
    model: nn.Module | ModelFactory,
    inputs: Inputs,
    *,
    training: Training,
    limits: Limits | None = None,
    device: str | torch.device | None = None,
    call: Call | None = None,
    seed: int = 0,
) -> Verdict:
    """Condemn a trial that surely does not fit, before its model is built.

    ``probe_trial(…, preflight=rp.Limits())`` does the same for a model that exists. Ask
    ``trial.should_prune()`` afterwards, build the model, and call ``probe_trial``.

    A trial is never condemned because its preflight failed: it warns, and goes on. Where trials of
    the study ran out of memory all the same (:func:`out_of_memory`), estimates are corrected by
    them.

    Args:
        trial: Of the objective.
        model: Or a function without arguments that builds it.
        inputs: As of :func:`recent_prune.probe.probe`.
        training: As of :func:`recent_prune.preflight.preflight`.
        limits: Default: the free memory of the device.
        device: As of :func:`recent_prune.preflight.preflight`.
        call: Likewise.
        seed: Likewise.

    Returns:
        The verdict; ``verdict.cause`` is ``"too_large"`` where it is condemned.

    Raises:
        TypeError: If ``limits`` are none.
    """
    chosen = Limits() if limits is None else limits
    return ahead(
        trial, model, inputs, training, chosen, device=device, call=call, seed=seed
    ).verdict


def ahead(
    trial: BaseTrial,
    model: nn.Module | ModelFactory,
    inputs: Inputs,
    training: Training | None,
    limits: Limits,
    *,
    device: str | torch.device | None = None,
    call: Call | None = None,
    seed: int = 0,
) -> Ahead:
    """Estimate, judge and store; arguments as of `preflight_trial`.

    Of a trial on several processes the first one's verdict is everybody's.

    Raises:
        TypeError: If ``limits`` are none.
        ValueError: If there is no ``training``.
    """
    if not isinstance(limits, Limits):
        raise TypeError(f"`preflight` must be Limits, but got {type(limits).__name__}.")
    if training is None:
        raise ValueError("`preflight` is of a training step, so `training` must be given, too.")
    found: list[Ahead] = []

    def judge(own: BaseTrial | None) -> Verdict:
        if own is None:
            return Verdict(True, 0.0, "Another process judges.")
        try:
            result = preflight(model, inputs, training, device=device, call=call, seed=seed)
        except optuna.TrialPruned:  # the user's own code does so
            raise
        except Exception as error:
            found.append(Ahead(_kept(own, error)))
        else:
            found.append(_judged(own, model, result, limits, device))
        return found[0].verdict

    verdict = judged_by_the_first(trial, judge) if is_shared(trial) else judge(trial)
    return found[0] if found else Ahead(verdict)


def _judged(
    trial: BaseTrial,
    model: nn.Module | ModelFactory,
    result: PreflightResult,
    limits: Limits,
    device: str | torch.device | None,
) -> Ahead:
    lies = model if isinstance(model, nn.Module) else None
    room = limits.room(device or _device_of(result, lies), lies)
    fit = Fit.of(result, limits, room)
    if limits.memory is not None and room is None:
        warnings.warn(
            f"The memory of a {result.device} device is not known here, so no trial is too large: "
            "give Limits(memory=…).",
            stacklevel=caller(),
        )
    factor = learnt(study_of(trial))
    corrected = result if factor is None else replace(result, memory=_above(result.memory, factor))
    verdict = fit.rule(corrected)
    known = _stored(result, fit.rule, trial.number)
    if verdict.trainable:
        trial.set_user_attr(attributes.PREFLIGHT, known)
    else:
        condemned = attributes.of_verdict(trial.number, verdict, result.seconds)
        store(trial, verdict, {attributes.PREFLIGHT: known, **condemned})
        warn_if_nobody_prunes(trial)
    return Ahead(verdict, fit, trial.number)


def _device_of(result: PreflightResult, model: nn.Module | None) -> torch.device:
    if model is not None:
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.device.type == result.device:
                return tensor.device  # with its number
    return torch.device(result.device)


def _kept(trial: BaseTrial, error: Exception) -> Verdict:
    """A trial whose preflight failed goes on, and says why."""
    fault = attributes.fault_of(error)
    trial.set_user_attr(attributes.PREFLIGHT, {"fault": fault, "trial": trial.number})
    message = f"The preflight failed, so whether the trial fits is not known: {fault}"
    warnings.warn(message, stacklevel=caller())
    return Verdict(True, 0.0, f"Whether it fits is not known: {fault}")


def _stored(result: PreflightResult, rule: PreflightRule, number: int) -> dict[str, Any]:
    room: Room | None = rule.room
    time = result.training_seconds
    return {
        "memory": round(result.memory.value),
        "free": None if room is None else room.free,
        "capacity": None if room is None else room.capacity,
        "batch": result.batch_size,
        "operations": result.operations,
        "method": result.method,
        "step_seconds": None if result.step_seconds is None else result.step_seconds.value,
        "training_seconds": None if time is None else time.value,
        "trial": number,
    }


def _above(memory: Estimate, factor: float) -> Estimate:
    """An estimate of which is known that the truth is above so many times its value."""
    low = max(memory.low, memory.value * factor)
    value = max(memory.value, low)
    return Estimate(value, low, memory.high * value / memory.value)


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
