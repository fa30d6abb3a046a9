"""The pruner."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.pruners import BasePruner, HyperbandPruner
from optuna.study import Study
from optuna.trial import FrozenTrial

from recent_prune.optuna.attributes import is_condemned, is_stopped
from recent_prune.rules import Rule, TrainabilityRule
from recent_prune.rules.certified import CertifiedRule
from recent_prune.rules.certified.arguments import check_ranks, check_rule
from recent_prune.rules.rung_zero import check_shares


class ReconstructionEntropyPruner(BasePruner):
    """Prune trials whose initialization cannot train, before their first epoch.

    A pruner sees neither model nor data, so the objective calls :func:`probe_trial`, which
    probes the model, judges it by this pruner's rule and stores the verdict in the trial.
    ``trial.should_prune()`` is then true for a condemned trial; for every other trial, one that
    was never probed included, it says whatever the wrapped pruner says.

    Example:
        .. code-block:: python

            import optuna
            from recent_prune.optuna import ReconstructionEntropyPruner, probe_trial


            def objective(trial):
                model = build_model(trial)  # suggest everything first, then probe
                verdict = probe_trial(trial, model, train_loader)
                if trial.should_prune():
                    raise optuna.TrialPruned(verdict.reason)
                for epoch in range(epochs):
                    trial.report(train_one_epoch(model), epoch)
                    if trial.should_prune():
                        raise optuna.TrialPruned()
                return evaluate(model)


            study = optuna.create_study(
                pruner=ReconstructionEntropyPruner(wrapped_pruner=optuna.pruners.MedianPruner())
            )
            study.optimize(objective, n_trials=100)

    Non-finite activations condemn a trial; non-finite reported values are the wrapped pruner's.
    The pruner holds no state of its own: threads may share it, and several processes may work
    on one storage.

    Args:
        rule: From a probe's result to a verdict, or a :class:`CertifiedRule`, which learns from
            the study. Default: :class:`TrainabilityRule`.
        wrapped_pruner: Decides on all trials that are not condemned. Default: none, they run to
            their end. Hyperband keeps its brackets, also in the eyes of the samplers.
        keep: Share of the candidates that is trained, in (0, 1]: **rung zero**. Below 1 every trial
            is a candidate, which is ranked by its first steps (``rule.score``) among those of its
            study so far, whatever process they are in, and is pruned unless it is among the best
            share of them. Trials then need ``probe_trial(…, training=…)``, and ``n_trials`` counts
            candidates: 1/8 of 80 makes some ten trainings. Default 1, nothing but condemned trials
            is pruned. 1/8 left 0.07 to 0.34 of a random search's compute to the same best value in
            six spaces (``benchmarks/compute_saved``), 0.25 where everything trains. Where trials
            with better scores do not end better the share rises by itself, towards 1
            (:func:`recent_prune.rules.rung_zero.turned_down`).
        explore: Share of the trainings, in [0, 1), that is drawn at random from those that ranked
            lower, so that the ranking can be judged: ``recent_prune.optuna.audit`` says what it was
            worth. Default 0.05: more tells more, and costs more, see
            :func:`recent_prune.rules.rung_zero.chance`.

    Raises:
        TypeError: If ``rule`` is not callable or ``wrapped_pruner`` is no pruner.
        ValueError: If ``keep`` or ``explore`` is out of its range, or ``keep`` is below 1 for a
            :class:`CertifiedRule`.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> ReconstructionEntropyPruner:
        """Make a Hyperband pruner of it where one is wrapped.

        Optuna's samplers look at the trials of one bracket only, if the study's pruner is an
        instance of HyperbandPruner; they would not recognise a wrapped one.
        """
        wrapped = kwargs.get("wrapped_pruner", args[1] if len(args) > 1 else None)
        if cls is ReconstructionEntropyPruner and isinstance(wrapped, HyperbandPruner):
            return super().__new__(_WrappedHyperbandPruner)
        return super().__new__(cls)

    def __init__(
        self,
        rule: Rule | CertifiedRule | None = None,
        wrapped_pruner: BasePruner | None = None,
        *,
        keep: float = 1.0,
        explore: float = 0.05,
    ) -> None:
        if isinstance(rule, BasePruner):
            raise TypeError(
                f"`rule` must be a rule, but got {type(rule).__name__}: did you mean "
                "wrapped_pruner=…?"
            )
        check_rule(rule)
        if wrapped_pruner is not None and not isinstance(wrapped_pruner, BasePruner):
            raise TypeError(
                f"`wrapped_pruner` must be an Optuna pruner or None, but got {wrapped_pruner!r}."
            )
        check_shares(keep, explore)
        check_ranks(keep, rule)
        self._keep, self._explore = float(keep), float(explore)
        self._rule = TrainabilityRule() if rule is None else rule
        self._wrapped_pruner = wrapped_pruner or optuna.pruners.NopPruner()

    def __repr__(self) -> str:
        """With rule and wrapped pruner."""
        wrapped = type(self._wrapped_pruner).__name__
        kept = "" if self._keep == 1 else f", keep={self._keep:g}"
        return f"ReconstructionEntropyPruner(rule={self._rule!r}, wrapped_pruner={wrapped}{kept})"

    @property
    def rule(self) -> Rule | CertifiedRule:
        """The rule that :func:`probe_trial` judges by."""
        return self._rule

    @property
    def keep(self) -> float:
        """Share of the candidates that is trained."""
        return self._keep

    @property
    def explore(self) -> float:
        """Share of the trainings that is drawn at random from those that ranked lower."""
        return self._explore

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether the trial is condemned or stopped at rung zero, or what the wrapped one says."""
        if is_condemned(trial) or is_stopped(trial):
            return True
        return self._wrapped_pruner.prune(study, trial)


class _WrappedHyperbandPruner(ReconstructionEntropyPruner, HyperbandPruner):
    """Shows the wrapped Hyperband's brackets to Optuna's samplers."""

    _wrapped_pruner: HyperbandPruner

    def _get_bracket_id(self, study: Study, trial: FrozenTrial) -> int:
        return self._wrapped_pruner._get_bracket_id(study, trial)

    def _create_bracket_study(self, study: Study, bracket_id: int) -> Study:
        return self._wrapped_pruner._create_bracket_study(study, bracket_id)
