"""Before a trial is probed: does it fit?"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import optuna
import torch
from optuna.trial import BaseTrial
from torch import nn

from recent_prune.optuna import attributes
from recent_prune.optuna.distributed import is_shared, judged_by_the_first, study_of
from recent_prune.optuna.ran_out import learnt
from recent_prune.optuna.storing import caller, store, warn_if_nobody_prunes
from recent_prune.preflight import Estimate, Limits, PreflightResult, Room, preflight
from recent_prune.preflight.faking import ModelFactory
from recent_prune.probe import ProbeResult, Training
from recent_prune.probe.batches.calling import Call
from recent_prune.probe.batches.inputs import Inputs
from recent_prune.rules import PreflightRule, Verdict
from recent_prune.rules.fit import Fit


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
