"""Syne Tune's schedulers (0.16, `syne_tune`), asked and told one trial after the other.

A trial is a configuration of the table, and told as such: the nearest one to what a model suggests,
and the next one of the table's order where a scheduler would draw at random, as it does until it
has a model. (The nearest ones to uniform draws are other ones than the table's, better ones here,
since kinds that are rare in a table are as likely as others.) Schedulers draw from NumPy's global
generator as well, which is seeded.
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

MODELS = ("good_kde", "surrogate_model")
"""Where its searchers keep the model by which they suggest."""

ETA = 3
"""Reduction factor, its default, and that of the other halvings."""

Make = Callable[[dict[str, Any], int, int], Any]
"""From a space, epochs and a seed to a scheduler."""


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
    def make(space: dict[str, Any], epochs: int, seed: int) -> Any:
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
        )

    return make


def _cqr(space: dict[str, Any], _: int, seed: int) -> Any:
    from syne_tune.optimizer.baselines import CQR

    return CQR(space, "accuracy", do_minimize=False, random_seed=seed)


def drew_at_random(scheduler: Any) -> bool:
    """Whether a scheduler's suggestions are drawn at random, having no model as yet."""
    searcher = getattr(scheduler.searcher, "searcher", scheduler.searcher)
    return all(getattr(searcher, name, None) is None for name in MODELS)


def method(make: Make, *, stops: bool = True) -> Method:
    """A scheduler as a method.

    Args:
        make: The scheduler.
        stops: Whether it stops trials, or looks at their ends alone.
    """

    def run(trained: Trained, seed: int, ranked: bool, done: Done) -> list[Ran]:
        logging.getLogger("syne_tune").setLevel(logging.ERROR)
        np.random.seed(seed)
        search = Search(trained, seed, done, ranked=ranked)
        scheduler = make(space_of(trained), trained.epochs, seed)
        while not search.over:
            asked = unlabelled(trained, scheduler.suggest().config)
            index = search.draw(None if drew_at_random(scheduler) else asked)
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


ASHA = method(_halving("ASHA"))
BOHB = method(_halving("BOHB"))
CQR = method(_cqr, stops=False)
ASHACQR = method(_halving("ASHACQR"))
