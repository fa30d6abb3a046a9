"""Replay trainings through Optuna's own studies, samplers and pruners."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from unittest import mock

import numpy as np
import optuna
import torch
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from torch import nn

from benchmarks.compute_saved.table import Trained
from recent_prune import Training
from recent_prune.optuna import ReconstructionEntropyPruner, probe_trial

Sampler = Literal["random", "tpe"]

TRAINING = Training(nn.CrossEntropyLoss(), lambda p: torch.optim.SGD(p, 0.1))
"""Stands for those that were probed."""

GRADIENTS = "gradients"
"""User attribute of a trial: what `SymptomPruner` looks at."""


@dataclass(frozen=True)
class Ran:
    """What a method did with one configuration.

    Attributes:
        index: The configuration.
        epochs: That it has been trained for.
        probed: Whether a probe was paid for.
        condemned: Whether the probe ended it.
        since: Epochs that were paid for earlier in the run, where a training is taken up again.
        first_batch: Whether its first batch alone was paid for, which ended it.
    """

    index: int
    epochs: int
    probed: bool = False
    condemned: bool = False
    since: int = 0
    first_batch: bool = False


class OfTable(BaseSampler):
    """Draws all parameters of a table together."""

    def __init__(self, trained: Trained) -> None:
        self._trained = trained

    def infer_relative_search_space(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        """The table's."""
        return self._trained.distributions

    def sample_independent(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
        param_name: str,
        param_distribution: BaseDistribution,  # noqa: ARG002
    ) -> Any:
        """Never: all parameters are drawn together."""
        raise AssertionError(param_name)


class TableSampler(OfTable):
    """Draws each configuration of a table at most once: at random, or the nearest to what is asked.

    Args:
        trained: The table.
        seed: Of both.
        sampler: Which: TPE, or another one that asks; where it asks for nothing, it is at random.
    """

    def __init__(self, trained: Trained, seed: int, sampler: Sampler | BaseSampler) -> None:
        super().__init__(trained)
        self._order = list(np.random.default_rng(seed).permutation(len(trained)))
        self._asks = sampler if isinstance(sampler, BaseSampler) else None
        if sampler == "tpe":
            self._asks = TPESampler(multivariate=True, seed=seed)
        self.drawn: list[int] = []

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The parameters of a configuration that was not drawn yet."""
        asked: Mapping[str, Any] = {}
        if self._asks is not None:
            asked = self._asks.sample_relative(study, trial, search_space)
        index = int(self._order[0])
        if asked:  # they begin with random trials
            left = np.asarray(self._order)
            away = self._trained.positions[left] - self._trained.position(dict(asked))
            index = int(left[np.square(away).sum(axis=1).argmin()])
        self._order.remove(index)
        self.drawn.append(index)
        return dict(self._trained.parameters[index])

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        """Samplers keep constraints here."""
        if self._asks is not None:
            self._asks.after_trial(study, trial, state, values)


class SymptomPruner(BasePruner):
    """Stop a training whose gradients vanish or explode.

    After BTTackler (arXiv 2602.23630), with the conventional bounds on what 32 bits can work with
    rather than bounds that were tuned.

    Args:
        vanished: Root mean square of the first layer's gradient below which it is stopped.
        exploded: That of any layer's gradient above which it is stopped, and where not finite.
    """

    def __init__(self, vanished: float = 1e-7, exploded: float = 1e3) -> None:
        self._vanished, self._exploded = vanished, exploded

    def prune(self, study: Study, trial: FrozenTrial) -> bool:  # noqa: ARG002
        """By the gradients of the last epoch."""
        known = trial.user_attrs.get(GRADIENTS)
        if known is None:
            return False
        first, _, largest = known
        return not self._vanished <= first or not largest <= self._exploded


def new_study(
    trained: Trained, pruner: BasePruner, sampler: Sampler | BaseSampler, seed: int
) -> Study:
    """A study that draws from a table; by its name Hyperband assigns brackets."""
    asks = sampler if isinstance(sampler, str) else type(sampler).__name__
    return optuna.create_study(
        study_name=f"{trained.name}-{asks}-{seed}",
        direction="maximize",
        sampler=TableSampler(trained, seed, sampler),
        pruner=pruner,
    )


def replay(
    study: Study,
    trained: Trained,
    trials: int,
    epochs: int | None = None,
    *,
    first_batch: bool = False,
    done: Callable[[Sequence[Ran]], bool] = lambda _: False,
) -> list[Ran]:
    """What a study would have done.

    Where its pruner is a `ReconstructionEntropyPruner`, `probe_trial` is called for each trial, and
    given the stored result in place of a probe. A training whose loss is not finite reports NaN.

    Args:
        study: Of `new_study`.
        trained: The trainings.
        trials: Number of trials.
        epochs: Of a full training. Default: all.
        first_batch: Whether the pruner is asked after the first batch as well.
        done: Asked after each trial whether what was run is enough.
    """
    sampler = study.sampler
    assert isinstance(sampler, TableSampler)
    whole = epochs or trained.epochs
    ran = []
    for _ in range(min(trials, len(trained))):
        trial = study.ask(trained.distributions)
        index = sampler.drawn[-1]
        with warnings.catch_warnings():
            # Optuna's median of trials that reported nothing but NaN.
            warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
            new = _run(trained, trial, index, whole, first_batch)
        ran.append(new)
        if new.epochs < whole:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, float(trained.accuracy[index, whole - 1]))
        if done(ran):
            break
    return ran


def _run(trained: Trained, trial: optuna.Trial, index: int, whole: int, first_batch: bool) -> Ran:
    probed = isinstance(trial.study.pruner, ReconstructionEntropyPruner)
    if probed:
        stored = trained.probes[index]
        with mock.patch("recent_prune.optuna.objective.ready", return_value=lambda: stored):
            probe_trial(trial, nn.Identity(), [], training=TRAINING)
        if trial.should_prune():
            return Ran(index, 0, probed, condemned=True)
    if first_batch:
        trial.set_user_attr(GRADIENTS, list(trained.first_gradients[index]))
        if trial.should_prune():
            return Ran(index, 0, probed, first_batch=True)
    for epoch in range(1, whole):
        finite = np.isfinite(trained.loss[index, epoch - 1])
        trial.set_user_attr(GRADIENTS, list(trained.gradients[index, epoch - 1]))
        trial.report(float(trained.accuracy[index, epoch - 1]) if finite else math.nan, epoch)
        if trial.should_prune():
            return Ran(index, epoch, probed)
    trial.report(float(trained.accuracy[index, whole - 1]), whole)
    return Ran(index, whole, probed)
