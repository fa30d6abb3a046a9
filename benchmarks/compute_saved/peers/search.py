"""A search of a table that is no Optuna study: what it asks for, is given, and what it cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from unittest import mock

import numpy as np
import optuna
from optuna.pruners import BasePruner
from optuna.trial import TrialState
from torch import nn

from benchmarks.compute_saved.optuna_replay import TRAINING, Ran
from benchmarks.compute_saved.table import Trained
from recent_prune import TrainabilityRule
from recent_prune.optuna import ReconstructionEntropyPruner, probe_trial

KEEP = 1 / 8
"""Share of the candidates that rung zero lets go on."""

Done = Callable[[Sequence[Ran]], bool]
"""Whether what was run is enough."""

Method = Callable[[Trained, int, bool, Done], list[Ran]]
"""From a table, a seed, whether rung zero is in front, and when to stop, to what was run."""


def rung_zero(behind: BasePruner | None = None) -> ReconstructionEntropyPruner:
    """Ours, with a pruner behind it."""
    return ReconstructionEntropyPruner(TrainabilityRule(), behind, keep=KEEP)


class Search:
    """One run of a peer.

    Args:
        trained: The table.
        seed: Of the order in which configurations are drawn where the peer draws at random.
        done: When it is enough.
        ranked: Whether rung zero decides which candidates the peer gets: in an Optuna study of its
            own, by the real pruner.
    """

    def __init__(self, trained: Trained, seed: int, done: Done, *, ranked: bool) -> None:
        self.ran: list[Ran] = []
        self.order = [int(i) for i in np.random.default_rng(seed).permutation(len(trained))]
        self._trained, self._done = trained, done
        self._left = list(self.order)
        self._epochs: dict[int, int] = {}
        self._open: dict[int, optuna.Trial] = {}
        self._study: optuna.Study | None = None
        if ranked:
            self._study = optuna.create_study(
                study_name=f"{trained.name}-candidates-{seed}",
                direction="maximize",
                sampler=optuna.samplers.RandomSampler(seed),
                pruner=rung_zero(),
            )

    @property
    def over(self) -> bool:
        """Whether it is enough, or nothing is left to draw."""
        return not self._left or self._done(self.ran)

    @property
    def enough(self) -> bool:
        """Whether it is enough, whatever is left."""
        return self._done(self.ran)

    def draw(self, asked: Mapping[str, Any] | None = None) -> int:
        """A configuration that was not drawn yet.

        Args:
            asked: The nearest one to these parameters. Default: the next at random.
        """
        index = self._left[0]
        if asked is not None:
            left = np.asarray(self._left)
            away = self._trained.positions[left] - self._trained.position(dict(asked))
            index = int(left[np.square(away).sum(axis=1).argmin()])
        self._left.remove(index)
        return index

    def goes_on(self, index: int) -> bool:
        """Whether the peer is given a candidate; without rung zero it always is."""
        if self._study is None:
            return True
        self._study.enqueue_trial(self._trained.parameters[index])
        trial = self._study.ask(self._trained.distributions)
        stored = self._trained.probes[index]
        with mock.patch("recent_prune.optuna.objective.ready", return_value=lambda: stored):
            probe_trial(trial, nn.Identity(), [], training=TRAINING)
        if trial.should_prune():
            self._study.tell(trial, state=TrialState.PRUNED)
            self.ran.append(Ran(index, 0, probed=True, condemned=True))
            return False
        self._open[index] = trial
        return True

    def train(self, index: int, epochs: int, *, ended: bool) -> float:
        """Train a candidate, or take its training up again.

        Args:
            index: Of the configuration.
            epochs: From its start, in all.
            ended: Whether the peer is done with it. Rung zero learns what it came to only then.

        Returns:
            Its accuracy.
        """
        since = self._epochs.get(index, 0)
        probed = self._study is not None and since == 0
        self._epochs[index] = epochs
        self.ran.append(Ran(index, epochs, probed=probed, since=since))
        accuracy = float(self._trained.accuracy[index, epochs - 1])
        if self._study is not None:
            self._open[index].report(accuracy, epochs)
            if epochs == self._trained.epochs:
                self._study.tell(self._open.pop(index), accuracy)
            elif ended:
                self._study.tell(self._open.pop(index), state=TrialState.PRUNED)
        return accuracy


def labelled(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """With categories as texts, since libraries differ in what they make of truth values."""
    return {
        name: str(value) if isinstance(value, (bool, np.bool_)) else value
        for name, value in parameters.items()
    }


def unlabelled(trained: Trained, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The same back, as the table has them."""
    found = {}
    for name, distribution in trained.distributions.items():
        value = parameters[name]
        if isinstance(distribution, optuna.distributions.CategoricalDistribution):
            value = next(c for c in distribution.choices if str(c) == str(value))
        found[name] = value
    return found
