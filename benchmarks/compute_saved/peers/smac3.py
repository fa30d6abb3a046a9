"""SMAC's facades (2.4, `smac`), asked and told one evaluation after the other.

Budgets are epochs, from one on, rounded; a training is paused between two of them and taken up
again, and what was paid is not paid twice. Configurations are the table's: SMAC's own selector
yields one, the nearest that was not drawn takes its place, and behind rung zero only those that go
on are passed to the facade. The random design at the start is the table's order of the seed: all of
Hyperband's, as many as SMAC would draw by default of the multi-fidelity facade's.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from benchmarks.compute_saved.optuna_replay import Ran
from benchmarks.compute_saved.peers.search import Done, Method, Search, labelled, unlabelled
from benchmarks.compute_saved.table import Trained

TRIALS = 160
"""That SMAC is told it has: a quarter of them is its random design at most, by default."""
WIDER = 1e-6
"""Share by which bounds are widened, since ConfigSpace rounds them."""
EACH = 10
"""Configurations of the random design a hyperparameter, by default."""


def space_of(trained: Trained) -> Any:
    """The table's distributions in ConfigSpace's words."""
    from ConfigSpace import Categorical, ConfigurationSpace, Float, Integer

    space = ConfigurationSpace()
    for name, one in trained.distributions.items():
        if isinstance(one, CategoricalDistribution):
            space.add(Categorical(name, [labelled({name: c})[name] for c in one.choices]))
        elif isinstance(one, IntDistribution):
            space.add(Integer(name, (one.low, one.high), log=True))
        else:
            assert isinstance(one, FloatDistribution)
            bounds = one.low * (1 - WIDER), one.high * (1 + WIDER)
            space.add(Float(name, bounds, log=True))
    return space


class Picked:
    """A selector of SMAC's whose configurations are the table's, those that go on alone.

    Args:
        selector: SMAC's.
        search: What is drawn from.
        trained: The table.
        space: Its space.
    """

    def __init__(self, selector: Any, search: Search, trained: Trained, space: Any) -> None:
        self._selector, self._search = selector, search
        self._trained, self._space = trained, space
        self.rows: dict[Any, int] = {}

    def __getattr__(self, name: str) -> Any:
        """All else is SMAC's."""
        return getattr(self._selector, name)

    def __iter__(self) -> Iterator[Any]:
        """Until nothing is left."""
        for asked in self._selector:
            if self._search.over:
                return
            index = self._search.draw(unlabelled(self._trained, dict(asked)))
            if self._search.goes_on(index):
                found = configuration(self._space, self._trained, index)
                self.rows[found] = index
                yield found


def configuration(space: Any, trained: Trained, index: int) -> Any:
    """A row of the table in ConfigSpace's words."""
    from ConfigSpace import Configuration

    return Configuration(space, values=labelled(trained.parameters[index]))


def method(name: str, *, learns: bool) -> Method:
    """A facade as a method.

    Args:
        name: Of the facade.
        learns: Whether it proposes, after a random design.
    """

    def run(trained: Trained, seed: int, ranked: bool, done: Done) -> list[Ran]:
        import smac
        from smac.initial_design.random_design import RandomInitialDesign
        from smac.runhistory.dataclasses import TrialValue

        search = Search(trained, seed, done, ranked=ranked)
        space = space_of(trained)
        some = min(EACH * len(trained.distributions), TRIALS // 4) if learns else None
        with tempfile.TemporaryDirectory() as folder:
            scenario = smac.Scenario(
                space,
                deterministic=True,
                n_trials=TRIALS if learns else 10 * len(trained),
                min_budget=1,
                max_budget=trained.epochs,
                seed=seed,
                output_directory=folder,
            )
            facade = getattr(smac, name)
            first = [configuration(space, trained, i) for i in search.order[:some]]
            design = RandomInitialDesign(scenario, n_configs=0, additional_configs=first)
            picked = Picked(facade.get_config_selector(scenario), search, trained, space)
            optimizer = facade(
                scenario,
                initial_design=design,
                config_selector=picked,
                logging_level=logging.ERROR,
                overwrite=True,
            )
            while not search.enough:
                try:
                    info = optimizer.ask()
                except StopIteration:  # the table is drawn
                    break
                epochs = max(1, round(info.budget))
                accuracy = search.train(picked.rows[info.config], epochs, ended=False)
                optimizer.tell(info, TrialValue(cost=1 - accuracy), save=False)
        return search.ran

    return run


HYPERBAND = method("HyperbandFacade", learns=False)
MULTI_FIDELITY = method("MultiFidelityFacade", learns=True)
