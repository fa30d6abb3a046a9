"""Does a training fit, and end in time: asked on rank zero, before the first steps."""

from __future__ import annotations

from contextlib import nullcontext

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from optuna.trial import BaseTrial

from recent_prune.lightning.batches import TrainingBatches, without_workers
from recent_prune.lightning.first_steps import trained_as_by, why_not
from recent_prune.optuna.attributes import fault_of
from recent_prune.optuna.preflight import Ahead, ahead
from recent_prune.preflight import Limits, preflight
from recent_prune.probe import ProbeResult, Training
from recent_prune.probe.batches.inputs import Inputs
from recent_prune.rules import Verdict
from recent_prune.rules.fit import Fit

Early = Ahead | Fit


def early_verdict(
    trainer: Trainer,
    module: LightningModule,
    batches: TrainingBatches | Inputs,
    limits: Limits,
    trial: BaseTrial | None,
    training: Training | None,
) -> Early | None:
    """What is known before anything is run; None where it cannot be, of which a warning tells.

    Args:
        trainer: At the start of its training.
        module: Its module, bare.
        batches: As a training step gets them.
        limits: What the training may take.
        trial: That stores it, if there is one.
        training: How it trains. Default: as the trainer does.
    """
    unseen = why_not(trainer, module) if training is None else None
    try:
        if unseen is None:
            own = trained_as_by(trainer, module, watched=False)
            with own if training is None else nullcontext(training) as known:
                whole = without_workers(batches)
                if trial is not None:
                    return ahead(trial, module, whole, known, limits)
                result = preflight(module, whole, known)
                return Fit.of(result, limits, limits.room(module.device, module))
    except Exception as error:
        unseen = fault_of(error)
    rank_zero_warn(f"Whether the training fits is not known: {unseen}")
    return None


def timed(early: Early | None, result: ProbeResult, verdict: Verdict) -> Verdict:
    """The verdict without a trial, now that steps were timed."""
    return early.verdict_after(result, verdict) if isinstance(early, Fit) else verdict
