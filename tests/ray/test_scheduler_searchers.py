"""The gate, with searchers that learn, wait, or never end."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from ray import tune
from ray.tune.schedulers import (
    HyperBandForBOHB,
)
from ray.tune.search import ConcurrencyLimiter
from ray.tune.search.optuna import OptunaSearch

from tests.ray.simulation import (
    SimulatedGate,
    SimulatedPool,
    simulated,
    tuner,
)
from tests.ray.sweeps import (
    Suggestions,
    doomed,
    optuna_trials,
    rejected,
    space,
)

pytestmark = pytest.mark.usefixtures("local_ray")


class TestSearchers:
    def test_random_and_grid_variants(self, tmp_path: Path) -> None:
        variants = {
            "doomed": tune.grid_search([False, True]),
            "quality": tune.uniform(0, 1),
        }
        with simulated() as log:
            results = tuner(tmp_path, SimulatedGate(), variants, 10).fit()
        assert len(results) == 20
        assert len(log.started) == 10
        assert rejected(results) == doomed(results)

    def test_optuna_hears_of_a_rejected_trial_as_pruned_with_its_violation(
        self, tmp_path: Path
    ) -> None:
        search = OptunaSearch()
        search_space = {"quality": tune.uniform(0, 1), "doomed": tune.choice([False, True])}
        with simulated() as log:
            tuner(tmp_path, SimulatedGate(polls=2), search_space, 16, search_alg=search).fit()
        trials = optuna_trials(search)
        assert len(trials) == 16
        states = Counter((t.params["doomed"], t.state.name) for t in trials)
        assert set(states) == {(True, "PRUNED"), (False, "COMPLETE")}
        assert len(log.started) == states[False, "COMPLETE"]
        for trial in trials:
            expected = 0.5 if trial.params["doomed"] else -0.5
            assert trial.constraints == {"recent_prune": expected}

    @pytest.mark.parametrize("limit", [1, 3])
    def test_concurrency_limiter_counts_held_trials(self, limit: int, tmp_path: Path) -> None:
        searcher = Suggestions(lambda number: number % 2 == 0)
        limited = ConcurrencyLimiter(searcher, max_concurrent=limit)
        with simulated() as log:
            results = tuner(tmp_path, SimulatedGate(polls=2), {}, 12, search_alg=limited).fit()
        assert len(results) == 12
        assert len(log.started) == 6
        assert searcher.most == limit
        assert len(searcher.without_result) == 6

    def test_bohb_schedules_what_passes(self, tmp_path: Path) -> None:
        searcher = Suggestions(lambda number: number % 3 == 0)
        scheduler = SimulatedGate(HyperBandForBOHB(max_t=9), polls=1)
        limited = ConcurrencyLimiter(searcher, max_concurrent=4)
        with simulated() as log:
            results = tuner(tmp_path, scheduler, {}, 12, search_alg=limited).fit()
        assert len(results) == 12
        assert rejected(results) == doomed(results)
        assert len(log.started) == 8

    def test_endless_sampling_stays_bounded_and_ends_with_its_budget(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TUNE_MAX_PENDING_TRIALS_PG", "20")
        forever = {"quality": 0.5, "doomed": tune.choice([False, True])}
        held: list[int] = []

        class Pool(SimulatedPool):
            def poll(self, *args: Any, **kwargs: Any) -> list[Any]:
                held.append(len(self._queue))
                return super().poll(*args, **kwargs)

        class Gate(SimulatedGate):
            def _make_pool(self) -> Pool:
                return Pool(polls=3)

        with simulated() as log:
            results = tuner(tmp_path, Gate(), forever, -1, time_budget_s=2.0).fit()
        assert max(held) == 20
        assert results.num_errors == 0
        assert 0 < len(log.started) < len(results)
        assert not set(log.started) & rejected(results)

    def test_a_budget_that_ends_while_trials_are_held(self, tmp_path: Path) -> None:
        class Pool(SimulatedPool):
            def poll(self, *args: Any, **kwargs: Any) -> list[Any]:
                time.sleep(0.05)
                return [] if self.probed else super().poll(*args, **kwargs)

        class Gate(SimulatedGate):
            def _make_pool(self) -> Pool:
                return Pool(batch_size=2)

        with simulated():
            results = tuner(tmp_path, Gate(), space(9), 1, time_budget_s=1.0).fit()
        assert len(results) == 9
        assert results.num_terminated == 9
        assert len(results.get_dataframe()) == 2
