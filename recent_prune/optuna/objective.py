"""What an objective calls."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from optuna.trial import BaseTrial, Trial
from torch import Tensor, nn

from recent_prune.optuna import attributes, stored_images
from recent_prune.optuna.certified import judge_in_study
from recent_prune.optuna.pruner import ReconstructionEntropyPruner
from recent_prune.probe import Training, probe
from recent_prune.probe.batches.inputs import Inputs
from recent_prune.probe.probing import Estimator
from recent_prune.rules import Rule, TrainabilityRule, Verdict
from recent_prune.rules.certified import CertifiedRule


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
    ``trial.set_constraint``, the graded violation: with it TPE, NSGA-II and GP learn from a
    pruned trial how far it was from trainable, and not merely that it has no value. GP needs the
    same constraints on all trials: probe every trial of its study. CMA-ES ignores constraints and
    warns of it, trial by trial.

    With ``n_jobs > 1`` the random state that a training in another thread draws from is the
    probe's while one runs (Python's, NumPy's and PyTorch's are global): where trainings must be
    reproducible, or use dropout, run processes instead.

    Args:
        trial: The trial of the objective, or a FixedTrial.
        model: The model at its initialization; it comes back untouched, see
            :func:`recent_prune.probe.probe`.
        inputs: Samples [n, …] or an iterable of batches.
        rule: Default: the rule of the study's :class:`ReconstructionEntropyPruner`, or
            :class:`TrainabilityRule` if it has another pruner.
        estimator: As in :func:`recent_prune.probe.probe`.
        layers: As in :func:`recent_prune.probe.probe`.
        reconstruct: Samples [k, …], k ≤ 4, of at most 4,096 features, that are reconstructed from
            seven layers at most and stored in the trial, for
            :class:`recent_prune.report.StudyReport` to show. Default: none.
        training: How the trial trains, as in :func:`recent_prune.probe.probe`: its loss, its
            optimizer, and the steps of its full training. Without it the learning rate is not
            looked at, which is logged once. Default: none.
        rtol: As in :func:`recent_prune.probe.probe`.
        seed: As in :func:`recent_prune.probe.probe`.

    Returns:
        The verdict; ``verdict.reason`` is a good message for ``optuna.TrialPruned``.

    Raises:
        TypeError: As :func:`recent_prune.probe.probe`, or if ``rule`` is a class.
        ValueError: As :func:`recent_prune.probe.probe`, or if ``reconstruct`` is too large.
    """
    if isinstance(rule, type):
        raise TypeError(f"`rule` must be a rule, but got the class: {rule.__name__}().")
    if reconstruct is not None:
        stored_images.check(reconstruct)
    result = probe(
        model,
        inputs,
        estimator=estimator,
        layers=layers,
        reconstruct=reconstruct,
        training=training,
        rtol=rtol,
        seed=seed,
    )
    chosen = rule or _rule_of(trial)
    if isinstance(chosen, CertifiedRule):
        verdict = judge_in_study(chosen, trial, result)
    else:
        verdict = chosen(result)
    _set_constraint(trial, verdict.violation)
    for key, value in attributes.to_attributes(trial.number, result, verdict).items():
        trial.set_user_attr(key, value)
    if not verdict.trainable:
        _warn_if_nobody_prunes(trial)
    return verdict


def _rule_of(trial: BaseTrial) -> Rule | CertifiedRule:
    pruner = trial.study.pruner if isinstance(trial, Trial) else None
    if isinstance(pruner, ReconstructionEntropyPruner):
        return pruner.rule
    return TrainabilityRule()


def _warn_if_nobody_prunes(trial: BaseTrial) -> None:
    if not isinstance(trial, Trial) or len(trial.study.directions) > 1:
        return
    if not isinstance(trial.study.pruner, ReconstructionEntropyPruner):
        message = (
            "A condemned trial's should_prune() will not say so, since the study's pruner is "
            f"{type(trial.study.pruner).__name__}: give ReconstructionEntropyPruner to "
            "create_study and load_study, with other pruners wrapped in it. (Trials that run all "
            "the same are infeasible to Optuna, so best_trial passes them over.)"
        )
        warnings.warn(message, stacklevel=3)


def _set_constraint(trial: BaseTrial, violation: float) -> None:
    if attributes.CONSTRAINT not in trial.constraints:
        trial.set_constraint(attributes.CONSTRAINT, violation)
    elif isinstance(trial, Trial) and trial.constraints[attributes.CONSTRAINT] != violation:
        # A retried trial brings its predecessor's constraint along, and set_constraint keeps the
        # first value: a trial that is now found trainable would stay infeasible.
        key = f"constraints:{attributes.CONSTRAINT}"
        trial.storage.set_trial_system_attr(trial._trial_id, key, violation)
