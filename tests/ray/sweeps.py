"""Sweeps whose trials say whether they are doomed, under every scheduler."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial
from ray import tune
from ray.tune.schedulers import (
    ASHAScheduler,
    FIFOScheduler,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    ResourceChangingScheduler,
    TrialScheduler,
)
from ray.tune.schedulers.pb2 import PB2
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

Make = Callable[[], TrialScheduler]


def pbt(**options: Any) -> PopulationBasedTraining:
    return PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=2,
        hyperparam_mutations={"lr": tune.uniform(0, 1)},
        **options,
    )


SCHEDULERS: dict[str, Make] = {
    "fifo": FIFOScheduler,
    "asha": lambda: ASHAScheduler(max_t=9),
    "asha, three brackets": lambda: ASHAScheduler(max_t=9, brackets=3, reduction_factor=2),
    "hyperband": lambda: HyperBandScheduler(max_t=9),
    "median": lambda: MedianStoppingRule(time_attr="training_iteration", grace_period=2),
    "pbt": pbt,
    "synchronous pbt": lambda: pbt(synch=True),
    "pb2": lambda: PB2(
        time_attr="training_iteration",
        perturbation_interval=8,
        hyperparam_bounds={"lr": [0.0, 1.0]},
    ),
    "resources": lambda: ResourceChangingScheduler(ASHAScheduler(max_t=9)),
}


def inner(*without: str) -> pytest.MarkDecorator:
    """A test for each scheduler. PB2 fits a Gaussian process to little, which warns of much."""
    quiet = {"pb2": pytest.mark.filterwarnings("ignore")}
    chosen = [
        pytest.param(make, id=name, marks=quiet.get(name, ()))
        for name, make in SCHEDULERS.items()
        if name not in without
    ]
    return pytest.mark.parametrize("make", chosen)


def space(count: int = 24, doomed: bool = True) -> dict[str, Any]:
    """A third of the trials is doomed, in no order."""
    numbers = random.Random(0)
    qualities = [numbers.random() for _ in range(count)]
    doomed_ones = set(numbers.sample(range(count), count // 3)) if doomed else set()
    return {
        "index": tune.grid_search(list(range(count))),
        "quality": tune.sample_from(lambda config: qualities[config["index"]]),
        "doomed": tune.sample_from(lambda config: config["index"] in doomed_ones),
    }


def each(results: tune.ResultGrid) -> list[Any]:
    return [results[number] for number in range(len(results))]


def optuna_trials(search: OptunaSearch) -> list[FrozenTrial]:
    study: Any = search._ot_study
    return list(study.trials)


def rejected(results: tune.ResultGrid) -> set[str]:
    ids = [r.metrics for r in each(results) if "recent_prune" in r.metrics]
    return {metrics["trial_id"] for metrics in ids}


def doomed(results: tune.ResultGrid) -> set[str]:
    return {r.metrics["trial_id"] for r in each(results) if r.metrics["config"]["doomed"]}


class Suggestions(Searcher):
    """A searcher that keeps account, for HyperBandForBOHB as well."""

    def __init__(self, doomed: Callable[[int], bool], count: int = 10**6) -> None:
        super().__init__(metric="score", mode="max")
        self.suggested = 0
        self.unfinished: set[str] = set()
        self.most = 0
        self.without_result: list[str] = []
        self._doomed, self._count = doomed, count

    def suggest(self, trial_id: str) -> Any:
        if self.suggested == self._count:
            return Searcher.FINISHED
        self.suggested += 1
        self.unfinished.add(trial_id)
        self.most = max(self.most, len(self.unfinished))
        return {"quality": 0.5, "doomed": self._doomed(self.suggested), "index": self.suggested}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        self.unfinished.discard(trial_id)
        if result is None:
            self.without_result.append(trial_id)

    def on_pause(self, trial_id: str) -> None:
        pass

    def on_unpause(self, trial_id: str) -> None:
        pass

    def save(self, checkpoint_path: str) -> None:
        Path(checkpoint_path).write_text("{}")

    def restore(self, checkpoint_path: str) -> None:
        pass
