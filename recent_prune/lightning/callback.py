"""The callback that judges a trial before its first training step."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import optuna
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from lightning.pytorch.utilities.seed import isolate_rng
from optuna.trial import BaseTrial, Trial

from recent_prune.lightning.arguments import (
    OnCondemned,
    check_judged_by,
    check_limits,
    check_steps,
)
from recent_prune.lightning.batches import TrainingBatches
from recent_prune.lightning.first_steps import DEFAULTS, made_or_why_not
from recent_prune.lightning.fitting import Early, early_verdict, timed
from recent_prune.lightning.outcome import Action, Outcome
from recent_prune.lightning.silence import without_trace
from recent_prune.optuna import attributes, objective, probe_metrics
from recent_prune.optuna.attributes import fault_of
from recent_prune.optuna.distributed import is_shared
from recent_prune.optuna.metrics import as_metrics
from recent_prune.optuna.preflight import Ahead
from recent_prune.preflight import Limits
from recent_prune.probe import ProbeResult, Training
from recent_prune.probe.batches.inputs import Inputs
from recent_prune.probe.probing import ready, warn_of_noise
from recent_prune.rules import Rule, TrainabilityRule, Verdict, summary
from recent_prune.rules.certified import CertifiedRule


class ReconstructionEntropyCallback(Callback):
    """Judge a trial before its first training step, and do not train what cannot.

    It is judged by its first steps: the module's own ``training_step``, the optimizer of
    ``configure_optimizers`` at the largest rate of its schedule, and the trainer's precision,
    accumulation and clipping, on a few training batches. All is undone afterwards.

    Without a trial, ``verdict`` and ``result`` hold what was found, and the probe's numbers go to
    the trainer's loggers (``recent_prune/retained``, ``…/loss_after``, …):

    .. code-block:: python

        callback = ReconstructionEntropyCallback()
        trainer = Trainer(callbacks=[callback])
        trainer.fit(module, train_loader)  # no step, if condemned
        print(callback.verdict)

    With an Optuna trial it stores what :func:`recent_prune.optuna.probe_trial` stores, and raises
    ``optuna.TrialPruned`` where the study's pruner says so:

    .. code-block:: python

        def objective(trial):
            module = build_module(trial)  # suggest everything before fit
            trainer = Trainer(callbacks=[ReconstructionEntropyCallback(trial)])
            trainer.fit(module, train_loader)
            return trainer.callback_metrics["val_loss"].item()


        study = optuna.create_study(pruner=ReconstructionEntropyPruner())

    The probe runs in ``on_train_start``: after ``setup``, ``configure_model`` and the sanity check
    (two validation batches by default; ``num_sanity_val_steps=0`` saves those too), when the
    module is on its device. A kept network trains bit for bit as it would have without the
    callback: weights, optimizer, data loader and random states come back, and so do metrics and
    what else module, data module and trainer keep, in objects of the user's own, too; ``self.log``
    and ``self.logger`` are silent meanwhile. Of the module's hooks those of the batch transfer run
    and ``configure_gradient_clipping``, no others, and ``batch_idx`` is 0. The loss of the best
    constant prediction, without which :class:`TrainabilityRule` condemns little, is known where
    ``training_step`` returns the value of a loss of ``torch.nn.functional`` (a module such as
    ``CrossEntropyLoss`` calls those).

    Where the first steps cannot be made (manual optimization, several optimizers, sharded
    parameters, a ``training_step`` that fails), a warning says why, and the initialization alone
    is probed: ``forward`` is called with one tensor. **Where that fails too, the network is
    trained**, and a warning says why. A network that has been trained before, by an earlier
    ``fit`` or from a checkpoint, is not probed.

    Under DDP every rank probes, on its own share of the data, since layers such as
    ``SyncBatchNorm`` wait for all ranks; rank zero's verdict (or its error) is everybody's, so
    that all of them stop or none does, and only rank zero needs the trial. Where the strategy
    spawns its processes (``ddp_spawn``), no exception reaches Optuna as what it is: there, call
    ``probe_trial`` before ``fit``.

    Args:
        trial: The objective's trial; on ranks but the first None, or a ``TorchDistributedTrial`` on
            all. Default: none.
        inputs: As in :func:`recent_prune.probe.probe`, for first steps such as ``training_step``
            takes. Default: batches of the train dataloader as a training step gets them, with
            their transfer hooks and in the trainer's precision. An iterable that can be passed
            only once would lose those batches: give others.
        rule: From a probe's result to a verdict, with a trial also a :class:`CertifiedRule`.
            Default: :class:`TrainabilityRule`, with a trial the rule of its study's pruner.
        first_steps: Whether to make first steps. Default: yes.
        steps: How many updates, ≥ 1; never more than the trainer makes. Default 6, see
            :class:`recent_prune.Training`.
        training: How the module trains, instead of what the trainer says; its ``call`` or its
            ``loss`` take the module and a batch as in :func:`recent_prune.probe.probe`.
        preflight: What the training may take: before the first steps a training step's memory is
            estimated, after them the time of all, and what surely does not fit or end in time is
            condemned (:func:`recent_prune.preflight`). It needs first steps; an estimate that
            fails condemns nobody. Default: no limits.
        on_condemned: Without a trial, what happens to a network that cannot train: ``"stop"`` ends
            ``fit`` before its first step (whatever ``min_epochs`` and ``min_steps``), ``"warn"``
            trains it all the same, ``"raise"`` raises a RuntimeError with the reason.

    Attributes:
        verdict: Of the last ``fit`` that probed, None before.
        result: The same for the probe's result; None with a trial, whose attributes hold it, and
            after a probe that failed.

    Raises:
        TypeError: If ``trial`` is no trial, ``rule`` no rule, ``training`` no
            :class:`recent_prune.Training`, or ``preflight`` no :class:`recent_prune.Limits`.
        ValueError: If ``on_condemned`` is none of the three, ``steps`` is below 1, or
            ``first_steps``, ``steps``, ``training`` and ``preflight`` contradict each other.
    """

    def __init__(
        self,
        trial: BaseTrial | None = None,
        *,
        inputs: Inputs | None = None,
        rule: Rule | CertifiedRule | None = None,
        first_steps: bool = True,
        steps: int | None = None,
        training: Training | None = None,
        preflight: Limits | None = None,
        on_condemned: OnCondemned = "stop",
    ) -> None:
        check_judged_by(trial, rule, on_condemned)
        check_steps(first_steps, steps, training)
        check_limits(preflight, first_steps)
        self.verdict: Verdict | None = None
        self.result: ProbeResult | None = None
        self._shared = trial if trial is not None and is_shared(trial) else None
        # On all ranks but the first there is none.
        self._trial = trial if self._shared is None else self._shared._delegate  # type: ignore[attr-defined]
        self._inputs = inputs
        self._rule = rule
        self._first_steps = first_steps
        self._steps = steps
        self._training = training
        self._limits = preflight
        self._on_condemned = on_condemned
        self._minima: tuple[int | None, int | None] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Judge and act on it."""
        if trainer.global_step > 0:
            return
        batches = TrainingBatches(trainer) if self._inputs is None else self._inputs
        outcome: Outcome | Exception
        # For augmentations on a GPU; the probe itself restores the rest.
        with isolate_rng(), without_trace(trainer, pl_module):
            early = self._early(trainer, pl_module, batches)
            # All ranks probe, or none does: layers may wait for each other.
            condemned = trainer.strategy.broadcast(
                None if early is None or early.verdict.trainable else early.verdict
            )
            try:
                if condemned is None:
                    outcome = self._outcome(trainer, pl_module, batches, early)
                else:
                    outcome = self._too_much(trainer, condemned)
            except Exception as error:  # the other ranks wait for an answer
                outcome = error
        outcome = trainer.strategy.broadcast(outcome)
        if isinstance(outcome, Exception):
            raise outcome
        self.verdict, self.result = outcome.verdict, outcome.result
        if self._shared is not None:  # each rank's copy of the attributes is read anew after it
            self._shared.set_user_attr(attributes.TRAINABLE, outcome.verdict.trainable)
        for logger in trainer.loggers:
            logger.log_metrics(outcome.metrics, step=0)
        self._act(trainer, outcome)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Give the trainer back what was changed to stop it."""
        if self._minima is not None:
            trainer.fit_loop.min_epochs, trainer.fit_loop.epoch_loop.min_steps = self._minima
            self._minima = None

    def _early(
        self, trainer: Trainer, module: LightningModule, batches: TrainingBatches | Inputs
    ) -> Early | None:
        if self._limits is None or not trainer.is_global_zero:
            return None
        return early_verdict(trainer, module, batches, self._limits, self._trial, self._training)

    def _too_much(self, trainer: Trainer, verdict: Verdict) -> Outcome:
        """Of a training that does not fit."""
        if self._trial is not None and trainer.is_global_zero:
            prune = _should_prune(self._trial, verdict)
            metrics = probe_metrics(self._trial)
            return Outcome(verdict, None, metrics, "prune" if prune else "train")
        return Outcome(verdict, None, as_metrics(summary(None, verdict)), self._on_condemned)

    def _outcome(
        self,
        trainer: Trainer,
        module: LightningModule,
        batches: TrainingBatches | Inputs,
        early: Early | None,
    ) -> Outcome:
        unseen = None
        if self._first_steps and self._training is None:
            found = made_or_why_not(trainer, module, batches, self._steps)
            error = found if isinstance(found, Exception) else None
            # All ranks go on to the initialization, or none does: layers may wait for each other.
            if trainer.strategy.reduce_boolean_decision(error is not None, all=False):
                if isinstance(error, optuna.TrialPruned):  # the user's own code does so
                    raise error
                unseen = "They failed on another rank." if error is None else fault_of(error)
            elif isinstance(found, ProbeResult):
                return self._judged(trainer, lambda: found, early)
            else:
                unseen = str(found)
        try:
            run = ready(module, batches, training=self._training, **DEFAULTS)
        except Exception as error:
            if self._inputs is not None or self._training is not None:  # an argument is wrong
                raise
            return self._judged(trainer, partial(_raised, error), early)
        outcome = self._judged(trainer, run, early)
        failed = self._trial is not None and self._trial.user_attrs.get(attributes.FAULT)
        return outcome if failed else outcome._replace(unseen=unseen)

    def _judged(
        self, trainer: Trainer, run: Callable[[], ProbeResult], early: Early | None
    ) -> Outcome:
        """Probe and judge; a probe that fails keeps its network."""
        if self._trial is not None and trainer.is_global_zero:
            stored = early if isinstance(early, Ahead) else None
            verdict = objective._judged(run, self._trial, self._rule, stored)
            metrics = probe_metrics(self._trial)
            prune = _should_prune(self._trial, verdict)
            return Outcome(verdict, None, metrics, "prune" if prune else "train")
        try:
            result = run()
        except optuna.TrialPruned:
            raise
        except Exception as error:
            fault = fault_of(error)
            kept = Verdict(True, 0.0, f"It could not be judged: {fault}")
            return Outcome(kept, None, {}, "train", fault=fault)
        warn_of_noise(result.redundancy)
        # With a trial this is another rank, which has no say.
        rule = self._rule if self._trial is None and self._shared is None else None
        verdict = (rule or TrainabilityRule())(result)  # type: ignore[operator]
        verdict = timed(early, result, verdict)
        action: Action = "train" if verdict.trainable else self._on_condemned
        return Outcome(verdict, result, as_metrics(summary(result, verdict)), action)

    def _act(self, trainer: Trainer, outcome: Outcome) -> None:
        if outcome.fault is not None:
            rank_zero_warn(f"The probe failed, so the network is trained unjudged: {outcome.fault}")
        elif outcome.unseen is not None:
            rank_zero_warn(
                "The trial's first steps cannot be made here, so learning rate and optimizer are "
                f"not judged, but its initialization alone: {outcome.unseen}"
            )
        told = " ".join(filter(None, (outcome.verdict.reason, outcome.verdict.advice)))
        if outcome.action == "prune":
            raise optuna.TrialPruned(told)
        if outcome.action == "raise":
            raise RuntimeError(told)
        if outcome.action == "warn":
            rank_zero_warn(f"This network will not train: {told}")
        if outcome.action == "stop":
            rank_zero_info(f"`Trainer.fit` stopped before its first step: {told}")
            trainer.should_stop = True
            # Lightning would train for these in spite of should_stop.
            self._minima = trainer.min_epochs, trainer.min_steps
            trainer.fit_loop.min_epochs, trainer.fit_loop.epoch_loop.min_steps = 0, None


def _raised(error: Exception) -> ProbeResult:
    raise error


def _should_prune(trial: BaseTrial, verdict: Verdict) -> bool:
    if isinstance(trial, Trial) and len(trial.study.directions) > 1:  # Optuna forbids to ask
        return not verdict.trainable
    return trial.should_prune()
