"""BTTackler's symptoms (arXiv 2602.23630), with the bounds of its paper, as an Optuna pruner.

It looks at the mean size of the gradients in every layer. The tables hold root mean squares of the
first layer's and of the last one's, after each epoch; the median over layers is taken to lie midway
between the two on a logarithmic scale, as it does where sizes change by the same factor from layer
to layer. Left out is its share of gradients that are zero, which the tables do not hold.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from optuna.pruners import BasePruner
from optuna.study import Study
from optuna.trial import FrozenTrial

from benchmarks.compute_saved.table import Trained

SIZES = (1e-5, 1e4)
"""Bounds of the median over layers of the gradients' size."""
RATIOS = (1e-4, 1e3)
"""Bounds of the median ratio of neighbouring layers' sizes; here that of the same factor."""
GAIN = 1e-4
"""By which the loss must have changed in `PATIENCE` epochs."""
PATIENCE = 3
PROTECTED = 0.1
"""Share of the trials, those with the least loss, that is never stopped; one of them at least."""


class Rows:
    """Which configuration of a table a trial is, by its parameters."""

    def __init__(self, trained: Trained) -> None:
        self._rows = {tuple(p.values()): i for i, p in enumerate(trained.parameters)}
        self._names = list(trained.distributions)

    def of(self, trial: FrozenTrial) -> int:
        """Of a trial."""
        key: tuple[Any, ...] = tuple(trial.params[name] for name in self._names)
        return self._rows[key]


class BTTacklerPruner(BasePruner):
    """Stop a training that shows a symptom.

    Args:
        trained: The table, whose trials have a parameter ``depth``.
    """

    def __init__(self, trained: Trained) -> None:
        self._trained, self._rows = trained, Rows(trained)

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """By the gradients and losses of its epochs so far."""
        epoch = trial.last_step
        if epoch is None:
            return False
        index = self._rows.of(trial)
        return self._ill(index, epoch) and not self._protected(study, trial, index, epoch)

    def _ill(self, index: int, epoch: int) -> bool:
        known = self._trained
        first, last, _ = known.gradients[index, epoch - 1]
        if not SIZES[0] <= math.sqrt(first) * math.sqrt(last) <= SIZES[1]:  # NaN is none of them
            return True
        neighbours = max(int(known.parameters[index]["depth"]) - 1, 1)
        ratio = (first / last) ** (1 / neighbours) if last > 0 else math.inf
        if not RATIOS[0] <= ratio <= RATIOS[1]:
            return True
        if epoch <= PATIENCE:
            return False
        loss = known.loss[index]
        return not abs(loss[epoch - 1] - loss[epoch - 1 - PATIENCE]) >= GAIN

    def _protected(self, study: Study, trial: FrozenTrial, index: int, epoch: int) -> bool:
        """Whether its loss is among the least of those that came as far."""
        own = self._trained.loss[index, epoch - 1]
        others = [
            self._trained.loss[self._rows.of(other), epoch - 1]
            for other in study.get_trials(deepcopy=False)
            if other.number != trial.number and (other.last_step or 0) >= epoch
        ]
        better = sum(bool(loss < own) for loss in others)
        return bool(np.isfinite(own)) and better < max(PROTECTED * (1 + len(others)), 1)
