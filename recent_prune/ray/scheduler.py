"""The scheduler."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from recent_prune.preflight import Limits
from recent_prune.probe.batches.calling import Call
from recent_prune.probe.batches.inputs import Inputs
from recent_prune.probe.probing import Estimator
from recent_prune.ray import arguments, schedulers, tune_controller
from recent_prune.ray.batches import LoadInputs
from recent_prune.ray.gate import Gate, OnFault, Pool
from recent_prune.ray.in_trial import CONDEMNED, METRICS, say_what_is_not_seen
from recent_prune.ray.initialization import BuildModel, MakeTraining
from recent_prune.ray.judging.choosing import decisions_of
from recent_prune.ray.judging.situation import Decisions
from recent_prune.ray.limits import PoolLimits
from recent_prune.ray.pool import ProbePool
from recent_prune.ray.probing import pickled, settings_of
from recent_prune.ray.run import Run
from recent_prune.ray.tune_controller import ControllerView
from recent_prune.rules import Rule
from recent_prune.rules.certified import CertifiedRule


class ReconstructionEntropyScheduler(schedulers.Wrapping):
    """Start only trials that can train, judged by their first steps; schedule those as usual.

    A trial that Tune samples is held, without a worker or a placement group, until a probe actor
    has built its model, made its first steps and probed it. If it cannot train it ends without
    having started: it is in the ResultGrid, TERMINATED, with the numbers of
    :func:`recent_prune.rules.summary` in ``result.metrics["recent_prune"]`` (columns
    ``recent_prune/…``). Otherwise the wrapped scheduler gets it, which never hears of the others.

    Example:
        .. code-block:: python

            def build_model(config):
                return MLP(depth=config["depth"], gain=config["gain"])


            def training(model, config):
                adam = torch.optim.Adam(model.parameters(), config["lr"])
                return rp.Training(cross_entropy, adam, budget=20 * BATCHES)


            scheduler = ReconstructionEntropyScheduler(
                build_model,
                (train_images, train_labels),
                training=training,
                wrapped=tune.schedulers.ASHAScheduler(),
            )
            # The trainable gets the very model that was probed: build_probed_model(build_model, …)
            tune.Tuner(train, tune_config=tune.TuneConfig(scheduler=scheduler)).fit()

    Trials are held in the state PENDING, so Tune samples no further ahead than without the gate.
    HyperBand and synchronous PBT compare all trials that they know, so they get those that were
    sampled together at once; a PBT exploit is no new initialization and is not probed. With
    OptunaSearch a rejected trial counts as pruned, and every probed one carries its violation as
    the constraint ``recent_prune``. ``Tuner.restore`` knows all verdicts: they are written to the
    experiment's storage before they are acted upon (:func:`probed_trials` reads them). A restored
    run uses the ``build_model``, ``inputs`` and ``training`` of the first one, which Tune keeps
    with the experiment: after changing them start a new experiment.

    A probe that fails (a time-out, an actor or node that dies) is tried once more, alone; then its
    trial runs unprobed, a warning says so once, and ``debug_string()`` counts it. After eight such
    trials in a row, or where no actor can start, the gate stays open for the rest of the run. Where
    ``build_model``, ``training`` or a first step raise, the trial runs unprobed at once.

    Use one object for one run, as with Tune's own schedulers: given to a second one the gate starts
    anew, but a wrapped scheduler keeps what it saw.

    Args:
        build_model: From a trial's configuration to its model, on the CPU. It must be picklable.
            None: nothing is held, and only trials that call :func:`probe_and_report` are judged.
        inputs: With ``training``, batches as the training loop gets them: tensors (inputs, targets)
            or a list of batches, which are sent to the actors whole; another iterable (a data
            loader), of which twice the batches are sent that the default steps and the estimator
            need; or a function that loads them in the probe actor, best for large data: without
            arguments, or of the configuration (``lambda config: loader(config["batch_size"])``),
            called for each trial then. Without ``training``, samples [n, …] or any of these.
        rule: From a probe's result to a verdict, or a :class:`CertifiedRule`: fitted, it prunes and
            audits by what the run's trials come to (the metric in their last result, whatever
            ended them); otherwise it watches, for :func:`calibrated`. Under HyperBand it prunes
            nothing, since that wants all trials before any has ended, and PBT is refused.
            Default: :class:`TrainabilityRule`.
        wrapped: Schedules what passes. Default: FIFO. Its metric and mode may be its own or those
            of ``TuneConfig``.
        estimator: As in :func:`recent_prune.probe.probe`.
        layers: As in :func:`recent_prune.probe.probe`.
        training: ``training(model, config)``, how a trial trains: a :class:`Training` with an
            optimizer over that model, or None where the trial is to be probed at its
            initialization alone. It must be picklable. Default: none, learning rate and optimizer
            are not looked at, which is logged once.
        call: As in :func:`recent_prune.probe.probe`, for trials without ``training``. It must be
            picklable.
        rtol: As in :func:`recent_prune.probe.probe`.
        batch_size: Trials that a probe actor gets at a time, at most. Default 16.
        probe_actors: Probe actors at a time, at most. Default 1.
        probe_resources: Of one of them. Default ``{"CPU": 0}``: the probe uses a core for the
            tenth of a second that it takes, but waits for none. With ``{"GPU": 0.25}`` it runs on
            the GPU; actors that hold resources stand back while trials wait for some.
        timeout_s: Seconds that a batch may take, first steps included. Default 60.
        start_timeout_s: Seconds that an actor may take to start while no trial is running.
            Default 120.
        idle_s: Seconds after which actors without work are released. Default 10.
        on_fault: ``"run"`` (default) or ``"reject"`` a trial that could not be probed.
        keep: Share of the candidates that is started, in (0, 1]: **rung zero**. Below 1 every trial
            is a candidate, ``num_samples`` counts candidates, and ``training`` is needed. They are
            held, ranked by their first steps (``rule.score``), and whenever a worker is free the
            best of those that wait is started, as long as the started ones stay within the share;
            the others end without having started. Under HyperBand and synchronous PBT the best
            share of those that were sampled together. Searchers are asked for 2 / ``keep`` trials
            ahead, unless a limit on concurrent trials keeps them from it. Where better scores do
            not end better the share rises (:func:`recent_prune.rules.rung_zero.turned_down`). A
            trial that cannot be probed is no candidate, and runs in full (``on_fault``). Default 1:
            only condemned trials are not started.
        explore: Share of those that start, in [0, 1), that is drawn at random from those that
            ranked lower, so that :func:`recent_prune.ray.audit` can say what the ranking was worth.
            Default 0.05; see :func:`recent_prune.rules.rung_zero.chance`.
        preflight: What a trial may take: before it is probed, the memory of a training step is
            estimated, and after its first steps the time of all of them; one that is surely too
            large or too slow is not started. Needs ``training``. ``"device"`` is the probe actor's;
            where nodes or accelerators are unlike, a trial that fits one is started. Default: None.
        deadline_s: Seconds for which workers may be without a trial while candidates wait; then the
            best so far is started, whatever the share. Default 30.

    Raises:
        TypeError: If an argument is of the wrong type, or cannot be pickled.
        ValueError: If an argument is out of its range, or ``inputs`` cannot be probed.
    """

    def __init__(
        self,
        build_model: BuildModel | None = None,
        inputs: Inputs | LoadInputs | None = None,
        rule: Rule | CertifiedRule | None = None,
        wrapped: TrialScheduler | None = None,
        *,
        estimator: Estimator = "ridge",
        layers: Sequence[str] | None = None,
        training: MakeTraining | None = None,
        call: Call | None = None,
        rtol: float = 0.005,
        batch_size: int = 16,
        probe_actors: int = 1,
        probe_resources: dict[str, float] | None = None,
        timeout_s: float = 60.0,
        start_timeout_s: float = 120.0,
        idle_s: float = 10.0,
        on_fault: OnFault = "run",
        keep: float = 1.0,
        explore: float = 0.05,
        deadline_s: float = 30.0,
        preflight: Limits | None = None,
    ) -> None:
        super().__init__(wrapped)
        arguments.check_types(build_model, inputs, training, rule, wrapped)
        arguments.check_probe(estimator, layers, rtol, call)
        arguments.check_rung(keep, explore, deadline_s, training, rule)
        arguments.check_limits(preflight, training)
        arguments.check_wrapped(wrapped, type(self), on_fault)
        self._limits = PoolLimits(
            actors=probe_actors,
            resources={"CPU": 0.0} if probe_resources is None else probe_resources,
            batch_size=batch_size,
            timeout_s=timeout_s,
            start_timeout_s=start_timeout_s,
            idle_s=idle_s,
        )
        self._settings: bytes | None = None
        if build_model is not None and inputs is not None:
            if training is None:
                say_what_is_not_seen(type(self).__name__, "a function of model and configuration")
            how = (rule, estimator, layers, rtol, training, call, keep < 1, preflight)
            self._settings = pickled(settings_of(build_model, inputs, *how))
        self._certified = rule if isinstance(rule, CertifiedRule) else None
        self._on_fault: OnFault = on_fault
        self._keep, self._explore, self._deadline_s = float(keep), float(explore), deadline_s
        self._run = Run()

    def __getstate__(self) -> dict[str, Any]:
        """What was given at construction; a restored run finds its verdicts on file."""
        return {**vars(self), "_run": Run()}

    def on_trial_add(self, controller: Any, trial: Trial) -> None:
        """Hold a new trial; hand on one that ran before, or that passed already."""
        self._enter(tune_controller.unwrapped(controller))
        if tune_controller.is_over(trial):  # in the run that is restored
            return
        gate = self._run.gate
        if gate is None or self._knows(trial) or tune_controller.has_run(trial):
            self._run.known.add(trial.trial_id)
            self._wrapped.on_trial_add(self._view(controller), trial)
            return
        if schedulers.completes_configurations(self._wrapped):
            self._wrapped.on_trial_add(self._view(controller), trial)
        gate.hold(trial)

    def on_trial_error(self, controller: Any, trial: Trial) -> None:
        """Hand on; learn from a trial that ran out of memory."""
        if self._run.gate is not None:
            self._run.gate.failed(trial)
        if self._knows(trial):
            self._wrapped.on_trial_error(self._view(controller), trial)

    def on_trial_result(self, controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Stop a trial that condemned itself by :func:`probe_and_report`; else hand on."""
        if result.get(CONDEMNED) is False:
            return self.STOP
        return self._wrapped.on_trial_result(self._view(controller), trial, result)

    def on_trial_complete(self, controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Hand on; a trial that condemned itself is removed, as its result has no value."""
        if result.get(CONDEMNED) is False:
            self._run.condemned.add(trial.trial_id)
            self._wrapped.on_trial_remove(self._view(controller), trial)
            violation = float(result.get(f"{METRICS}/violation", 0.0))
            tune_controller.tell_optuna(controller, trial.trial_id, violation)
            tune_controller.prune_in_optuna(controller, trial)
        elif self._knows(trial):
            self._wrapped.on_trial_complete(self._view(controller), trial, result)

    def on_trial_remove(self, controller: Any, trial: Trial) -> None:
        """Hand on; forget a trial that is held."""
        if self._run.gate is not None and self._run.gate.holds(trial):
            self._run.gate.forget(trial)
        elif self._knows(trial):
            self._wrapped.on_trial_remove(self._view(controller), trial)

    def choose_trial_to_run(self, controller: Any) -> Trial | None:
        """Act on the verdicts that have come, then let the wrapped scheduler choose."""
        view, gate = self._view(controller), self._run.gate
        for trial in [] if gate is None else gate.step():
            self._run.known.add(trial.trial_id)
            if not schedulers.completes_configurations(self._wrapped):
                self._wrapped.on_trial_add(view, trial)
            tune_controller.let_go(self._run.controller, trial)
        undecided = gate is not None and gate.undecided
        if undecided and schedulers.would_halve_too_early(self._wrapped, view):
            return None
        schedulers.go_on_with_forgotten(self._wrapped, view)
        return self._wrapped.choose_trial_to_run(view)

    def debug_string(self) -> str:
        """Of the wrapped scheduler, and how many trials the gate let pass."""
        lines = [self._wrapped.debug_string()]
        if self._run.gate is not None:
            lines.append(str(self._run.gate))
        if self._run.condemned:
            lines.append(f"{len(self._run.condemned)} condemned by a probe within the trial")
        return "\n".join(lines)

    def _enter(self, controller: Any) -> None:
        """Begin with a new gate where a run begins."""
        if controller is self._run.controller:
            return
        if self._run.gate is not None:
            self._run.gate.close()
        gate = None
        if (pool := self._make_pool()) is not None:
            gate = Gate(
                controller,
                pool,
                decisions=self._make_decisions(),
                on_fault=self._on_fault,
                cohorts=schedulers.waits_for_all(self._wrapped),
                patience_s=self._limits.idle_s,
                deadline_s=self._deadline_s,
            )
            if self._keep < 1:
                tune_controller.sample_ahead(controller, math.ceil(2 / self._keep))
        self._run = Run(controller, gate)

    def _make_pool(self) -> Pool | None:
        if self._settings is None:
            return None
        return ProbePool(self._settings, self._limits, gives_up=self._on_fault == "run")

    def _make_decisions(self) -> Decisions | None:
        return decisions_of(
            self._certified,
            self._keep,
            self._explore,
            self._metric or self.metric,
            self._mode or schedulers.mode_of(self._wrapped),
            self._wrapped,
        )

    def _knows(self, trial: Trial) -> bool:
        return trial.trial_id in self._run.known

    def _view(self, controller: Any) -> Any:
        return ControllerView(controller, self._knows)
