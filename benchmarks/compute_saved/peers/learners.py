"""Learners that stand for others: hyperparameters learned online, and TuneAhead's early look."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor

from benchmarks.compute_saved.optuna_replay import OfTable
from benchmarks.compute_saved.peers.search import KEEP
from benchmarks.compute_saved.peers.symptoms import Rows
from benchmarks.compute_saved.table import Array, Trained, load
from recent_prune.rules.rung_zero import (
    Comparison,
    Place,
    Rung,
    Training,
    chance,
    drawn,
    goes_on,
    turned_down,
)

CANDIDATES = 8
"""Random configurations of which the forest picks one."""
BEFORE = 4
"""Trainings before the forest is fitted."""
EXPLORE = 0.05
"""Share of those that the early look would stop that goes on at random, as at rung zero."""


class NumericSampler(OfTable):
    """A sampler that knows no categories, with the categories at random.

    Args:
        trained: The table.
        seed: Of the categories.
        sampler: Asked for the numbers.
    """

    def __init__(self, trained: Trained, seed: int, sampler: BaseSampler) -> None:
        super().__init__(trained)
        self._sampler = sampler
        self._rng = np.random.default_rng(seed)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Numbers that are asked for, and categories of a row at random."""
        numbers = {
            name: one
            for name, one in search_space.items()
            if not isinstance(one, CategoricalDistribution)
        }
        asked = self._sampler.sample_relative(study, trial, numbers)
        row = self._trained.parameters[self._rng.integers(len(self._trained))]
        return {**row, **asked} if asked else {}

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """The sampler's."""
        self._sampler.after_trial(study, trial, state, values)


class ForestSampler(OfTable):
    """Of a few random configurations the one that a forest on the hyperparameters thinks best.

    It is fitted to all trainings of the study that came to their end, from the fifth on. What is
    not picked can be drawn again.

    Args:
        trained: The table.
        seed: Of draws and forest.
    """

    def __init__(self, trained: Trained, seed: int) -> None:
        super().__init__(trained)
        self._rows, self._seed = Rows(trained), seed
        self._rng = np.random.default_rng(seed)
        self._fitted: tuple[int, Array] = 0, np.zeros(0)

    def sample_relative(
        self,
        study: Study,
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],  # noqa: ARG002
    ) -> dict[str, Any]:
        """The parameters of a configuration, nothing while too few were trained."""
        others = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
        whole = [t for t in others if t.state == TrialState.COMPLETE]
        if len(whole) < BEFORE:
            return {}
        left = np.setdiff1d(np.arange(len(self._trained)), [self._rows.of(t) for t in others])
        some = self._rng.choice(left, min(CANDIDATES, len(left)), replace=False)
        predicted = self._predicted(whole)[some]
        return dict(self._trained.parameters[int(some[predicted.argmax()])])

    def _predicted(self, whole: Sequence[FrozenTrial]) -> Array:
        """Of every configuration, by what has been trained."""
        if self._fitted[0] != len(whole):
            forest = RandomForestRegressor(100, random_state=self._seed)
            positions = self._trained.positions
            forest.fit(positions[[self._rows.of(t) for t in whole]], [t.value for t in whole])
            self._fitted = len(whole), forest.predict(positions)
        return self._fitted[1]


def numbers_of_first_epoch(trained: Trained) -> Array:
    """Accuracy, loss and logarithms of the gradients after an epoch [configurations, 5]."""
    with np.errstate(divide="ignore", invalid="ignore"):
        gradients = np.log10(trained.gradients[:, 0])
    found = np.column_stack([trained.accuracy[:, 0], trained.loss[:, 0], gradients])
    found[~np.isfinite(found)] = np.nan
    return found


def early_scores(trained: Trained, others: Sequence[Trained]) -> Array:
    """Boosted trees' ranks of all configurations by their first epoch, fitted to other spaces.

    Args:
        trained: The table that is judged.
        others: Those that it is fitted to: share of its own space that a configuration leaves
            behind.
    """
    known = np.concatenate([numbers_of_first_epoch(other) for other in others])
    ranks = np.concatenate([np.argsort(np.argsort(o.final)) / len(o) for o in others])
    model = HistGradientBoostingRegressor(random_state=0).fit(known, ranks)
    return np.asarray(model.predict(numbers_of_first_epoch(trained)))


@cache
def scores_from_others(space: str, spaces: tuple[str, ...]) -> Array:
    """Of a space, by the tables of the others."""
    return early_scores(load(space), [load(other) for other in spaces if other != space])


class EarlyLookPruner(BasePruner):
    """After an epoch the best share goes on, by scores that were learnt elsewhere.

    A stand-in for TuneAhead (arXiv 2606.17660), with the rung that ours has, an epoch later: same
    share, same floor, same share at random, turned down alike where the scores do not hold.

    Args:
        trained: The table.
        scores: Of its configurations.
    """

    def __init__(self, trained: Trained, scores: Array) -> None:
        self._rows, self._scores = Rows(trained), scores
        self._rung = Rung()
        self._ranked: dict[int, tuple[float, bool]] = {}

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether it stands too low; asked after the first epoch alone."""
        if trial.last_step != 1:
            return False
        share = self._share(study)
        key = float(self._scores[self._rows.of(trial)]), drawn(study.study_name, trial.number)
        standing = self._rung.standing(key, share)
        best = goes_on(standing, share)
        at_random = chance(EXPLORE, share)
        explored = not best and drawn(study.study_name, trial.number, "early look") < at_random
        place = Place(
            rank=standing.rank,
            of=standing.of,
            keep=share,
            best=best,
            explored=explored,
            share=1.0 if best else at_random,
        )
        self._rung.add(key, place)
        self._ranked[trial.number] = key[0], best
        return not (best or explored)

    def _share(self, study: Study) -> float:
        ended = [t for t in study.get_trials(deepcopy=False) if t.state == TrialState.COMPLETE]
        ranked = [(*self._ranked[t.number], float(t.values[0])) for t in ended]
        trainings = [Training(score, (value,), first=best) for score, best, value in ranked]
        return turned_down(KEEP, Comparison(trainings).worth())
