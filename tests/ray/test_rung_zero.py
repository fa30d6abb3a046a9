"""Candidates are held, ranked, and the best share of them is started."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ray import tune
from ray.tune import ResultGrid
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import ConcurrencyLimiter
from ray.tune.search.optuna import OptunaSearch
from torch import nn

import recent_prune as rp
from recent_prune.audit import RankingAudit
from recent_prune.data import load_digits
from recent_prune.ray import ReconstructionEntropyScheduler, audit, probed_trials
from recent_prune.ray.gate import Pool
from recent_prune.ray.judging.outcome import Candidate, Outcome
from recent_prune.report import trials_table
from tests.ray.simulated_actors import START_S, Log
from tests.ray.simulation import (
    SimulatedPool,
    TimedPool,
    judged,
    simulated,
    tuner,
)
from tests.ray.sweeps import Make, each, inner
from tests.ray.test_first_steps import Gate as InProcess

pytestmark = pytest.mark.usefixtures("local_ray")


def scored(candidate: Candidate) -> Outcome:
    """Ranked by what it will come to, or by what the configuration says."""
    config = candidate.config
    score = config.get("score", config["quality"])
    return replace(judged(candidate), score=score, error=0.125)


def never(*_: Any) -> Any:
    raise AssertionError("probes are simulated")


def never_loaded() -> Any:
    raise AssertionError("probes are simulated")


class RankedGate(ReconstructionEntropyScheduler):
    """The scheduler with simulated probes, which take virtual time where a log is given."""

    def __init__(self, wrapped: Any = None, log: Log | None = None, **options: Any) -> None:
        super().__init__(never, never_loaded, wrapped=wrapped, training=never, **options)
        self.log = log

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "log": None}

    def _make_pool(self) -> Pool | None:
        if self.log is not None:
            return TimedPool(self.log, 0.5, judge=scored)
        return SimulatedPool(judge=scored)


def space(count: int, doomed: int = 0, **more: Any) -> dict[str, Any]:
    """Qualities in no order; the last ones are condemned, whatever they rank."""
    qualities = np.random.default_rng(0).permutation(count) / count
    return {
        "index": tune.grid_search(list(range(count))),
        "quality": tune.sample_from(lambda config: float(qualities[config["index"]])),
        "doomed": tune.sample_from(lambda config: config["index"] >= count - doomed),
        **more,
    }


def started(results: ResultGrid) -> list[float]:
    """Qualities of those that were."""
    return sorted(
        (r.config["quality"] for r in each(results) if r.metrics.get("training_iteration")),
        reverse=True,
    )


class TestSweeps:
    def test_the_best_share_is_started(self, tmp_path: Path) -> None:
        with simulated():
            results = tuner(tmp_path, RankedGate(keep=1 / 8, explore=0.0), space(32), 1).fit()
        assert len(results) == 32
        assert started(results) == [31 / 32, 30 / 32, 29 / 32, 28 / 32]
        table = results.get_dataframe().set_index("config/index")
        told = table[table["recent_prune/stopped"] == True]  # noqa: E712
        assert len(told) == 28
        assert set(told["training_iteration"]) == {0}
        worst = told.sort_values("recent_prune/rank_score")
        assert worst["recent_prune/reason"].iloc[0] == (
            "Rank 32 of 32 candidates so far by its first steps; the best 0.125 of them are "
            "trained. As told."
        )
        probes = probed_trials(results).set_index("trial_id")
        assert probes["stopped"].sum() == 28
        assert probes["rank_score"].max() == 31 / 32
        assert set(probes["rank_error"]) == {0.125}
        assert set(trials_table(results)["rank_error"]) == {0.125}
        states = trials_table(results)["state"].value_counts().to_dict()
        assert states == {"PRUNED": 28, "COMPLETE": 4}

    def test_condemned_ones_are_candidates_too(self, tmp_path: Path) -> None:
        with simulated():
            gate = RankedGate(keep=1 / 4, explore=0.0)
            results = tuner(tmp_path, gate, space(16, doomed=12), 1).fit()
        assert len(started(results)) == 4
        assert "4 passed, 12 rejected, 0 held" in gate.debug_string()

    @inner()
    def test_under_every_scheduler(self, make: Make, tmp_path: Path) -> None:
        with simulated():
            scheduler: TrialScheduler = RankedGate(make(), keep=1 / 4, explore=0.0)
            results = tuner(tmp_path, scheduler, {**space(24), "lr": 0.5}, 1).fit()
        assert results.num_errors == 0
        assert len(started(results)) == 6
        probes = probed_trials(results)  # PBT's exploits change what is in a configuration
        ranks = probes[~probes["stopped"].astype(bool)]["rank_score"].nlargest(4).tolist()
        assert ranks == [23 / 24, 22 / 24, 21 / 24, 20 / 24]

    @pytest.mark.parametrize("concurrent", [None, 1, 3])
    def test_with_a_searcher(self, concurrent: int | None, tmp_path: Path) -> None:
        asked = {"quality": tune.uniform(0, 1)}
        searcher: Any = OptunaSearch(metric="score", mode="max", seed=1)
        if concurrent is not None:
            searcher = ConcurrencyLimiter(searcher, max_concurrent=concurrent)
        gate = RankedGate(keep=1 / 8, explore=0.0, deadline_s=1.0)
        with simulated(slots=2):
            results = tuner(tmp_path, gate, asked, 40, search_alg=searcher).fit()
        assert len(results) == 40
        found = started(results)
        # One that may ask for a single trial holds none back for long: TPE's get better and better.
        assert 1 <= len(found) <= (12 if concurrent == 1 else 6)
        assert found[0] == max(r.config["quality"] for r in each(results))

    def test_a_known_share_of_the_others_is_started_at_random(self, tmp_path: Path) -> None:
        with simulated():
            gate = RankedGate(keep=1 / 8, explore=2 / 3)
            results = tuner(tmp_path, gate, space(64), 1).fit()
        found = audit(results)
        assert isinstance(found, RankingAudit)
        trained = found.over_time[found.over_time["trained"]]
        # About 14, drawn by the trials' ids, which differ each time.
        assert 2 <= trained["explored"].sum() <= 34
        assert len(started(results)) == len(trained)
        assert found.worth.superiority == 1
        assert found.difference > 0

    def test_what_the_ranking_does_not_hold_for_is_turned_down(self, tmp_path: Path) -> None:
        drawn = tune.sample_from(lambda config: float((config["index"] * 37) % 101))
        with simulated():
            gate = RankedGate(keep=1 / 8, explore=2 / 3)
            results = tuner(tmp_path, gate, space(300, score=drawn), 1).fit()
        found = audit(results)
        assert isinstance(found, RankingAudit)
        assert found.over_time["keep"].iloc[0] == 1 / 8
        assert found.over_time["keep"].iloc[-1] > 1 / 4

    @pytest.mark.parametrize(("on_fault", "trained"), [("run", 9), ("reject", 1)])
    def test_what_cannot_be_probed_is_no_candidate(
        self, on_fault: Any, trained: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        faults = space(16, fault=tune.sample_from(lambda config: config["index"] < 8))
        with simulated(), caplog.at_level("WARNING", logger="recent_prune"):
            gate = RankedGate(keep=1 / 8, explore=0.0, on_fault=on_fault)
            results = tuner(tmp_path, gate, faults, 1).fit()
        assert len(started(results)) == trained
        assert "8 could not be probed" in gate.debug_string()
        said = caplog.messages[0]
        assert ("`keep` does not hold for such trials" in said) is (on_fault == "run")

    def test_one_is_started_of_a_few(self, tmp_path: Path) -> None:
        with simulated():
            gate = RankedGate(keep=1 / 8, explore=0.0)
            results = tuner(tmp_path, gate, space(3), 1).fit()
        assert started(results) == [2 / 3]

    def test_workers_hardly_wait_for_candidates(self, tmp_path: Path) -> None:
        with simulated(slots=2, epoch_s=10.0) as log:
            gate = RankedGate(log=log, keep=1 / 8, explore=0.0)
            results = tuner(tmp_path, gate, space(64), 1).fit()
        assert len(started(results)) == 8
        # Until eight were probed (and sixteen, for the second worker), nothing can start.
        before = START_S + 0.5 * 16
        assert 2 * log.makespan_s - log.worker_s < 2 * before + 0.02 * log.worker_s


def build(config: dict[str, Any]) -> nn.Module:
    return rp.networks.mlp(64, 10, depth=2, width=16)


def training(model: nn.Module, config: dict[str, Any]) -> rp.Training:
    adam = torch.optim.Adam(model.parameters(), config["lr"])
    return rp.Training(nn.CrossEntropyLoss(), adam, steps=4, budget=200)


def near_a_hundredth(config: dict[str, Any], iteration: int) -> dict[str, Any]:
    return {"score": -abs(math.log10(config["lr"]) + 2), "done": True}


def test_with_real_probes(tmp_path: Path) -> None:
    digits = load_digits()
    rates = [1e-7, 3e-3, 1e-6, 1e-2, 3e-7, 1e-3, 2e-6, 5e-7]
    gate = InProcess(
        build,
        (digits.train, digits.train_labels),
        training=training,
        keep=1 / 4,
        explore=0.0,
    )
    with simulated(report=near_a_hundredth):
        results = tuner(tmp_path, gate, {"lr": tune.grid_search(rates)}, 1).fit()
    assert results.num_errors == 0
    found = audit(results)
    assert isinstance(found, RankingAudit)
    assert found.over_time["trained"].sum() == 2
    assert {r.config["lr"] for r in each(results) if "score" in r.metrics} <= {3e-3, 1e-2, 1e-3}
