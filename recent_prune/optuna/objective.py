"""What an objective calls."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import optuna
from optuna.study import Study
from optuna.trial import BaseTrial, FixedTrial, FrozenTrial
from torch import Tensor, nn

from recent_prune.optuna import attributes, rung_zero, stored_images
from recent_prune.optuna.certified import judge_in_study
from recent_prune.optuna.distributed import is_shared, judged_by_the_first, study_of
from recent_prune.optuna.preflight import Ahead, ahead
from recent_prune.optuna.pruner import ReconstructionEntropyPruner
from recent_prune.optuna.storing import caller, store, warn_if_nobody_learns, warn_if_nobody_prunes
from recent_prune.preflight import Limits
from recent_prune.probe import ProbeResult, Training
from recent_prune.probe.batches.calling import Call
from recent_prune.probe.batches.inputs import Inputs
from recent_prune.probe.probing import Estimator, ready, warn_of_noise
from recent_prune.rules import Rule, TrainabilityRule, Verdict
from recent_prune.rules.certified import CertifiedRule
from recent_prune.rules.certified.arguments import check_rule
from recent_prune.rules.rung_zero import error_of, reason, score_of, scorer_of
from recent_prune.rules.verdict import verdict_of

# Below Optuna's own, for its handler and verbosity: others would not be shown.
logger = optuna.logging.get_logger(f"optuna.{__name__}")


def probe_trial(
    trial: BaseTrial,
    model: nn.Module,
    inputs: Inputs,
    *,
    rule: Rule | CertifiedRule | None = None,
    estimator: Estimator = "ridge",
    layers: Sequence[str] | None = None,
    reconstruct: Tensor | None = None,
    training: Training | None = None,
    call: Call | None = None,
    preflight: Limits | None = None,
    rtol: float = 0.005,
    seed: int = 0,
) -> Verdict:
    """Judge a trial by its first steps, store the result in the trial and return the verdict.

    Call it after *all* parameters have been suggested (a parameter suggested later would be
    missing from pruned trials, and samplers that look at common parameters would drop it), then
    ask ``trial.should_prune()`` as after any report. In a multi-objective study, where Optuna
    forbids that, raise ``optuna.TrialPruned(verdict.reason)`` where ``verdict.trainable`` is
    False. In a study whose pruner is not :class:`ReconstructionEntropyPruner` a condemned trial
    warns, since nobody prunes it.

    Stored are the user attributes named in :mod:`recent_prune.optuna.attributes` and, through
    ``trial.set_constraint``, the graded violation: with it TPE learns from a pruned trial how far
    it was from trainable, and not merely that it has no value. GP and NSGA-II look at completed
    trials alone; GP may propose the same point again, which a warning says. CMA-ES ignores
    constraints and warns of it, trial by trial.

    **A trial is never condemned because the probe failed.** Whatever is raised once the model
    runs (in forward, loss, backward or ``optimizer.step``, out of memory) keeps the trial: it
    warns, and the attribute ``recent_prune:fault`` says why. What is wrong with the call, and so
    can be seen before the model runs, is raised: arguments, too few samples, missing targets, an
    optimizer over another model.

    Of a ``TorchDistributedTrial`` (optuna-integration) all processes call this, each with its own
    model and data; the first one's verdict, by its study's rule, is everybody's.

    With ``n_jobs > 1`` the random state that a training in another thread draws from is the
    probe's while one runs (Python's, NumPy's and PyTorch's are global): where trainings must be
    reproducible, or use dropout, run processes instead.

    Args:
        trial: The trial of the objective, or a FixedTrial.
        model: The model at its initialization; it comes back untouched, see
            :func:`recent_prune.probe.probe`.
        inputs: Samples [n, …], or an iterable of batches as the training loop gets them.
        rule: Default: the rule of the study's :class:`ReconstructionEntropyPruner`, or
            :class:`TrainabilityRule` if it has another pruner.
        estimator: As in :func:`recent_prune.probe.probe`.
        layers: As in :func:`recent_prune.probe.probe`.
        reconstruct: Samples [k, …], k ≤ 4, of at most 4,096 features, that are reconstructed from
            seven layers at most and stored in the trial, for
            :class:`recent_prune.report.StudyReport` to show. Default: none.
        training: How the trial trains, as in :func:`recent_prune.probe.probe`: its loss, its
            optimizer, and the steps of its full training. Without it learning rate and optimizer
            are not looked at, which is logged once. Default: none.
        call: As in :func:`recent_prune.probe.probe`.
        preflight: What the trial may take: before it is probed, it is estimated whether a training
            step fits, and after the first steps, how long the full training takes; a trial that is
            surely too large, or too slow, is condemned. Needs ``training``. Of a model that is not
            built yet, see :func:`preflight_trial`. Default: neither is looked at.
        rtol: As in :func:`recent_prune.probe.probe`.
        seed: As in :func:`recent_prune.probe.probe`.

    Returns:
        The verdict; ``verdict.reason`` is a good message for ``optuna.TrialPruned``.

    Raises:
        TypeError: If an argument is of the wrong type, or ``rule`` is a class.
        ValueError: If an argument is out of its range, ``inputs`` cannot be probed, or
            ``reconstruct`` is too large.
    """
    check_rule(rule)
    if reconstruct is not None:
        stored_images.check(reconstruct)
    if training is None:
        _say_what_is_not_seen()

    early = None
    if preflight is not None:
        early = ahead(trial, model, inputs, training, preflight, call=call, seed=seed)
        if not early.verdict.trainable:
            return early.verdict

    def judge(own: BaseTrial | None) -> Verdict:
        _check_rung(own, training)
        run = ready(
            model,
            inputs,
            estimator=estimator,
            layers=layers,
            reconstruct=reconstruct,
            training=training,
            call=call,
            rtol=rtol,
            seed=seed,
        )
        return _judged(run, own, rule, early)

    return judged_by_the_first(trial, judge) if is_shared(trial) else judge(trial)


def _judged(
    run: Callable[[], ProbeResult],
    trial: BaseTrial | None,
    rule: Rule | CertifiedRule | None,
    early: Ahead | None = None,
) -> Verdict:
    """Probe, judge and store; without a trial, on a process that has no say, only probe."""
    start = time.perf_counter()
    try:
        result = run()
    except optuna.TrialPruned:  # the user's own code does so
        raise
    except Exception as error:
        return _kept(trial, error, time.perf_counter() - start, early)
    warn_of_noise(result.redundancy, stacklevel=caller() + 1)
    if trial is None:
        return Verdict(True, 0.0, "Another process judges.")
    chosen = rule or _rule_of(trial)
    written: tuple[str, ...] = ()
    if isinstance(chosen, CertifiedRule):
        verdict, written = judge_in_study(chosen, trial, result), attributes.OF_CERTIFIED
    else:
        verdict = verdict_of(chosen, result)
    timed: dict[str, Any] = {}
    if early is not None:
        written = (*written, attributes.PREFLIGHT)
        verdict, timed = early.after(result, verdict)
    ranked = _ranked(trial, chosen, result, condemned=not verdict.trainable)
    if ranked and verdict.trainable:
        verdict = replace(
            verdict, reason=f"{reason(ranked[attributes.RUNG_ZERO])} {verdict.reason}"
        )
    known = attributes.to_attributes(trial.number, result, verdict)
    store(trial, verdict, {**timed, **ranked, **known}, written)
    if not verdict.trainable:
        warn_if_nobody_prunes(trial)
    if not verdict.trainable or ranked.get(attributes.STOPPED):
        warn_if_nobody_learns(trial)
    return verdict


def _rung_of(trial: BaseTrial | None) -> tuple[Study, ReconstructionEntropyPruner] | None:
    """Study and pruner, where candidates are ranked."""
    study = None if trial is None else study_of(trial)
    if study is None or not isinstance(study.pruner, ReconstructionEntropyPruner):
        return None
    return None if study.pruner.keep == 1 else (study, study.pruner)


def _check_rung(trial: BaseTrial | None, training: Training | None) -> None:
    found = _rung_of(trial)
    if found is None:
        return
    study, pruner = found
    if training is None:
        raise ValueError(
            f"`keep` is {pruner.keep}, and candidates are ranked by their first steps: give "
            "probe_trial(…, training=rp.Training(loss, optimizer))."
        )
    if len(study.directions) > 1:
        raise ValueError(
            f"`keep` is {pruner.keep}, but Optuna prunes no trial of a study with "
            f"{len(study.directions)} objectives."
        )


def _ranked(
    trial: BaseTrial, rule: Rule | CertifiedRule, result: ProbeResult, *, condemned: bool
) -> dict[str, Any]:
    """Its place at rung zero, where the study has one and it made first steps."""
    found = _rung_of(trial)
    if found is None or isinstance(rule, CertifiedRule) or result.steps is None:
        return {}
    study, pruner = found
    return rung_zero.judged(
        study,
        trial.number,
        score_of(rule, result),
        pruner.keep,
        pruner.explore,
        error_of(rule, result),
        by=scorer_of(rule),
        condemned=condemned,
    )


def _kept(
    trial: BaseTrial | None, error: Exception, seconds: float, early: Ahead | None
) -> Verdict:
    """A trial whose probe failed is kept, and says why."""
    fault = attributes.fault_of(error)
    verdict = Verdict(True, 0.0, f"It could not be judged: {fault}")
    if trial is not None:
        failure = attributes.of_failure(trial.number, fault, verdict, seconds)
        store(trial, verdict, failure, () if early is None else (attributes.PREFLIGHT,))
    message = f"The probe failed, so the trial is kept unjudged: {fault}"
    warnings.warn(message, stacklevel=caller())
    return verdict


def _rule_of(trial: BaseTrial) -> Rule | CertifiedRule:
    study = study_of(trial)
    if study is not None and isinstance(study.pruner, ReconstructionEntropyPruner):
        return study.pruner.rule
    if study is None and not isinstance(trial, (FixedTrial, FrozenTrial)):
        warnings.warn(
            f"The study of this {type(trial).__name__} is not known, so TrainabilityRule judges, "
            "whatever the rule of its pruner: give probe_trial(…, rule=…).",
            stacklevel=caller(),
        )
    return TrainabilityRule()


@cache
def _say_what_is_not_seen() -> None:
    """Once in a process."""
    logger.info(
        "probe_trial without `training` looks at the initialization alone, and not at learning "
        "rate and optimizer: give training=rp.Training(loss, optimizer, budget=steps)."
    )
