"""Syne Tune's schedulers (0.16, `syne_tune`), asked and told one trial after the other.

A trial is a configuration of the table, the nearest one to what was suggested; it is told of that
one. What a scheduler draws at random before it learns is the table's order of the seed: all of
ASHA, the first five of the others, as many as they draw by default. Schedulers draw from NumPy's
global generator as well, which is seeded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from benchmarks.compute_saved.optuna_replay import Ran
from benchmarks.compute_saved.peers.search import Done, Method, Search, labelled, unlabelled
from benchmarks.compute_saved.table import Trained

DRAWN = 5
"""Configurations that BOHB and CQR draw at random before they learn, by default."""

ETA = 3
"""Reduction factor, its default, and that of the other halvings."""

Make = Callable[[dict[str, Any], int, int, list[dict[str, Any]]], Any]
"""From a space, epochs, seed and first configurations to a scheduler."""


def space_of(trained: Trained) -> dict[str, Any]:
    """The table's distributions in Syne Tune's words."""
    from syne_tune import config_space as words

    found: dict[str, Any] = {}
    for name, one in trained.distributions.items():
        if isinstance(one, CategoricalDistribution):
            found[name] = words.choice([labelled({name: c})[name] for c in one.choices])
        elif isinstance(one, IntDistribution):
            found[name] = words.lograndint(one.low, one.high)
        else:
            assert isinstance(one, FloatDistribution)
            found[name] = words.loguniform(one.low, one.high)
    return found


def _halving(name: str) -> Make:
    def make(space: dict[str, Any], epochs: int, seed: int, first: list[dict[str, Any]]) -> Any:
        from syne_tune.optimizer import baselines

        return getattr(baselines, name)(
            space,
            "accuracy",
            time_attr="epoch",
            max_t=epochs,
            do_minimize=False,
            random_seed=seed,
            grace_period=1,
            reduction_factor=ETA,
            points_to_evaluate=first,
        )

    return make


def _cqr(space: dict[str, Any], _: int, seed: int, first: list[dict[str, Any]]) -> Any:
    from syne_tune.optimizer.baselines import CQR

    return CQR(space, "accuracy", do_minimize=False, random_seed=seed, points_to_evaluate=first)


def method(make: Make, drawn: int | None = DRAWN, *, stops: bool = True) -> Method:
    """A scheduler as a method.

    Args:
        make: The scheduler.
        drawn: How many of the first configurations are the table's; None for all.
        stops: Whether it stops trials, or looks at their ends alone.
    """

    def run(trained: Trained, seed: int, ranked: bool, done: Done) -> list[Ran]:
        logging.getLogger("syne_tune").setLevel(logging.ERROR)
        np.random.seed(seed)
        search = Search(trained, seed, done, ranked=ranked)
        first = [labelled(trained.parameters[i]) for i in search.order[:drawn]]
        scheduler = make(space_of(trained), trained.epochs, seed, first)
        while not search.over:
            index = search.draw(unlabelled(trained, scheduler.suggest().config))
            if search.goes_on(index):
                number = sum(r.epochs > 0 for r in search.ran)
                _train(scheduler, search, trained, number, index, stops)
        return search.ran

    return run


def _train(
    scheduler: Any, search: Search, trained: Trained, number: int, index: int, stops: bool
) -> None:
    from syne_tune.backend.trial_status import Trial
    from syne_tune.optimizer.scheduler import SchedulerDecision

    trial = Trial(number, labelled(trained.parameters[index]), datetime.now(UTC))
    scheduler.on_trial_add(trial)
    for epoch in range(1, trained.epochs + 1):
        result = {"accuracy": float(trained.accuracy[index, epoch - 1]), "epoch": epoch}
        if scheduler.on_trial_result(trial, result) == SchedulerDecision.STOP:
            break
    if stops:
        scheduler.on_trial_remove(trial)
    else:
        scheduler.on_trial_complete(trial, result)
    search.train(index, epoch, ended=True)


ASHA = method(_halving("ASHA"), None)
BOHB = method(_halving("BOHB"))
CQR = method(_cqr, stops=False)
ASHACQR = method(_halving("ASHACQR"))
