"""For Lightning: a callback that probes the network before its first training step."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple, get_args

import optuna
from optuna.trial import BaseTrial, Trial
from torch.utils.data import DataLoader

from recent_prune.optuna import probe_metrics, probe_trial
from recent_prune.optuna.metrics import as_metrics
from recent_prune.probe import Backward, ProbeResult, probe
from recent_prune.probe.batches.inputs import Inputs
from recent_prune.rules import Rule, TrainabilityRule, Verdict, summary
from recent_prune.rules.certified import CertifiedRule

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
    from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
    from lightning.pytorch.utilities.seed import isolate_rng
except ImportError as error:
    raise ImportError(
        "recent_prune.lightning needs Lightning: pip install 'recent-prune[lightning]'."
    ) from error

OnCondemned = Literal["stop", "warn", "raise"]


class ReconstructionEntropyCallback(Callback):
    """Probe the network before its first training step, and do not train what cannot.

    Without a trial, ``verdict`` and ``result`` hold what was found, and the probe's numbers go to
    the trainer's loggers (``recent_prune/retained``, …):

    .. code-block:: python

        callback = ReconstructionEntropyCallback()
        trainer = Trainer(callbacks=[callback])
        trainer.fit(module, train_loader)  # no step, if condemned
        print(callback.verdict)

    With an Optuna trial it calls :func:`recent_prune.optuna.probe_trial`, and raises
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
    module is on its device. It is called with one tensor (its ``forward``), and comes back
    untouched, as do the data loader and the random states, so a kept network trains as it would
    have without the callback. A network that has been trained before, by an earlier ``fit`` or
    from a checkpoint, is at no initialization and is not probed.

    Under DDP every rank probes, on its own share of the data, since layers such as
    ``SyncBatchNorm`` wait for all ranks; rank zero's verdict (or its error) is everybody's, so
    that all of them stop or none does, and only rank zero needs the trial. Where the strategy
    spawns its processes (``ddp_spawn``), no exception reaches Optuna as what it is: there, call
    ``probe_trial`` before ``fit``.

    Args:
        trial: The objective's trial. Default: none.
        inputs: As in :func:`recent_prune.probe.probe`. Default: batches of the train dataloader as
            a training step gets them, with their transfer hooks and in the trainer's precision.
            An iterable that can be passed only once would lose those batches: give others.
        rule: From a probe's result to a verdict, with a trial also a :class:`CertifiedRule`.
            Default: :class:`TrainabilityRule`, with a trial the rule of its study's pruner.
        backward: As in :func:`recent_prune.probe.probe`; the training batches hold the labels.
            Default: none.
        on_condemned: Without a trial, what happens to a network that cannot train: ``"stop"`` ends
            ``fit`` before its first step (whatever ``min_epochs`` and ``min_steps``), ``"warn"``
            trains it all the same, ``"raise"`` raises a RuntimeError with the reason.

    Attributes:
        verdict: Of the last ``fit`` that probed, None before.
        result: The same for the probe's result; None with a trial, whose attributes hold it.

    Raises:
        TypeError: If ``trial`` is no trial, or ``rule`` no rule.
        ValueError: If ``on_condemned`` is none of the three.
    """

    def __init__(
        self,
        trial: BaseTrial | None = None,
        *,
        inputs: Inputs | None = None,
        rule: Rule | CertifiedRule | None = None,
        backward: Backward | None = None,
        on_condemned: OnCondemned = "stop",
    ) -> None:
        if trial is not None and not isinstance(trial, BaseTrial):
            raise TypeError(f"`trial` must be an Optuna trial or None, but got {trial!r}.")
        if isinstance(rule, CertifiedRule) and trial is None:
            raise TypeError(f"`rule` must come with a `trial` to learn from, but got {rule!r}.")
        is_rule = rule is None or callable(rule) or isinstance(rule, CertifiedRule)
        if not is_rule or isinstance(rule, type):
            raise TypeError(f"`rule` must be a rule (an instance, not a class), but got {rule!r}.")
        if on_condemned not in get_args(OnCondemned):
            raise ValueError(
                f"`on_condemned` must be 'stop', 'warn' or 'raise', but got {on_condemned!r}."
            )
        self.verdict: Verdict | None = None
        self.result: ProbeResult | None = None
        self._trial = trial
        self._inputs = inputs
        self._rule = rule
        self._backward = backward
        self._on_condemned = on_condemned
        self._minima: tuple[int | None, int | None] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Probe and act on it."""
        if trainer.global_step > 0:
            return
        outcome: _Outcome | Exception
        with isolate_rng():  # for augmentations on a GPU; the probe itself restores the rest
            try:
                outcome = self._probed(trainer, pl_module)
            except Exception as error:  # the other ranks wait for an answer
                outcome = error
        outcome = trainer.strategy.broadcast(outcome)
        if isinstance(outcome, Exception):
            raise outcome
        self.verdict, self.result = outcome.verdict, outcome.result
        for logger in trainer.loggers:
            logger.log_metrics(outcome.metrics, step=0)
        self._act(trainer, outcome)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Give the trainer back what was changed to stop it."""
        if self._minima is not None:
            trainer.fit_loop.min_epochs, trainer.fit_loop.epoch_loop.min_steps = self._minima
            self._minima = None

    def _probed(self, trainer: Trainer, module: LightningModule) -> _Outcome:
        inputs = _Batches(trainer) if self._inputs is None else self._inputs
        if self._trial is not None and trainer.is_global_zero:
            verdict = probe_trial(
                self._trial, module, inputs, rule=self._rule, backward=self._backward
            )
            metrics = probe_metrics(self._trial)
            prune = _should_prune(self._trial, verdict)
            return _Outcome(verdict, None, metrics, "prune" if prune else "train")
        result = probe(module, inputs, backward=self._backward)
        # With a trial this is another rank, which has no say.
        rule = None if self._trial is not None else self._rule
        verdict = (rule or TrainabilityRule())(result)  # type: ignore[operator]
        action: _Action = "train" if verdict.trainable else self._on_condemned
        return _Outcome(verdict, result, as_metrics(summary(result, verdict)), action)

    def _act(self, trainer: Trainer, outcome: _Outcome) -> None:
        reason = outcome.verdict.reason
        if outcome.action == "prune":
            raise optuna.TrialPruned(reason)
        if outcome.action == "raise":
            raise RuntimeError(reason)
        if outcome.action == "warn":
            rank_zero_warn(f"This network will not train: {reason}")
        if outcome.action == "stop":
            rank_zero_info(f"`Trainer.fit` stopped before its first step: {reason}")
            trainer.should_stop = True
            # Lightning would train for these in spite of should_stop.
            self._minima = trainer.min_epochs, trainer.min_steps
            trainer.fit_loop.min_epochs, trainer.fit_loop.epoch_loop.min_steps = 0, None


_Action = Literal["train", "prune", "stop", "warn", "raise"]


class _Outcome(NamedTuple):
    verdict: Verdict
    result: ProbeResult | None
    metrics: dict[str, float]
    action: _Action


class _Batches:
    """The training batches as a training step gets them, in a pass of their own."""

    def __init__(self, trainer: Trainer) -> None:
        loader = trainer.train_dataloader
        if isinstance(loader, (Mapping, list, tuple)):
            raise TypeError(
                "`inputs` must be given where there are several train dataloaders, but got None "
                f"with a {type(loader).__name__} of {len(loader)}."
            )
        if isinstance(loader, DataLoader):
            # The trainer has begun its pass; one more over the same persistent workers would
            # reset it, so that the first batches were never trained on.
            loader = copy.copy(loader)
            loader._iterator = None
        self._loader: Any = loader
        self._trainer = trainer

    def __iter__(self) -> Iterator[Any]:
        trainer = self._trainer
        for batch in self._loader:
            converted = trainer.precision_plugin.convert_input(batch)
            hooked = trainer.lightning_module._on_before_batch_transfer(converted)
            yield trainer.strategy.batch_to_device(hooked)

    def __getattr__(self, name: str) -> Any:
        """The loader's: the probe puts back the random generators it finds there."""
        return getattr(self._loader, name)


def _should_prune(trial: BaseTrial, verdict: Verdict) -> bool:
    if isinstance(trial, Trial) and len(trial.study.directions) > 1:  # Optuna forbids to ask
        return not verdict.trainable
    return trial.should_prune()
