"""Replay trainings through Tune's own controller, schedulers and searchers, on virtual time."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ray import tune
from ray.tune.schedulers import (
    AsyncHyperBandScheduler,
    FIFOScheduler,
    HyperBandScheduler,
    MedianStoppingRule,
    TrialScheduler,
)
from ray.tune.search.optuna import OptunaSearch

from benchmarks.compute_saved.optuna_replay import Ran, Sampler, TableSampler
from benchmarks.compute_saved.table import Trained
from recent_prune.ray import ReconstructionEntropyScheduler
from recent_prune.ray.gate import Pool
from recent_prune.ray.judging.outcome import Candidate, Outcome
from recent_prune.rules import Rule, summary
from tests.ray.simulation import SimulatedPool, simulated, tuner

SLOTS = 4
"""Trials that run side by side."""

SCHEDULERS: dict[str, Callable[[int], TrialScheduler]] = {
    "none": lambda _: FIFOScheduler(),
    "ASHA": lambda epochs: AsyncHyperBandScheduler(
        max_t=epochs, grace_period=1, reduction_factor=3
    ),
    "HyperBand": lambda epochs: HyperBandScheduler(max_t=epochs, reduction_factor=3),
    "median stopping": lambda _: MedianStoppingRule("training_iteration", grace_period=1),
}
"""Tune's schedulers, from the epochs of a full training, with an epoch as the first rung."""


class _StoredGate(ReconstructionEntropyScheduler):
    """The scheduler with stored results in place of probes."""

    def __init__(self, wrapped: TrialScheduler, judge: Callable[[Candidate], Outcome]) -> None:
        super().__init__(wrapped=wrapped)
        self.judge: Callable[[Candidate], Outcome] | None = judge

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "judge": None}

    def _make_pool(self) -> Pool | None:
        return SimulatedPool(judge=self.judge)


def replay(
    trained: Trained,
    scheduler: TrialScheduler,
    rule: Rule | None,
    sampler: Sampler,
    seed: int,
    trials: int,
) -> tuple[list[Ran], int]:
    """What a sweep with a scheduler would have done, and how many workers it started.

    Args:
        trained: The trainings.
        scheduler: Any of Tune's.
        rule: Of our scheduler around it; without one, there is none.
        sampler: Random, or OptunaSearch with TPE.
        seed: Of the sampler.
        trials: Number of trials.
    """
    indices = {_key(trained, p): i for i, p in enumerate(trained.parameters)}
    epochs: dict[int, int] = {}
    condemned: list[int] = []

    def index_of(config: dict[str, Any]) -> int:
        return int(config["index"]) if "index" in config else indices[_key(trained, config)]

    def report(config: dict[str, Any], iteration: int) -> dict[str, Any]:
        index = index_of(config)
        epochs[index] = max(iteration, epochs.get(index, 0))
        accuracy = float(trained.accuracy[index, iteration - 1])
        return {"score": accuracy, "done": iteration >= trained.epochs}

    def judge(candidate: Candidate) -> Outcome:
        assert rule is not None
        index = index_of(candidate.config)
        verdict = rule(trained.probes[index])
        if not verdict.trainable:
            condemned.append(index)
        return Outcome(candidate.trial_id, summary=summary(trained.probes[index], verdict))

    count = min(trials, len(trained))
    options: dict[str, Any]
    if sampler == "random":
        order = np.random.default_rng(seed).permutation(len(trained))[:count]
        options = {"space": {"index": tune.grid_search(order.tolist())}, "num_samples": 1}
    else:
        searcher = OptunaSearch(
            dict(trained.distributions),
            metric="score",
            mode="max",
            sampler=TableSampler(trained, seed, sampler),
        )
        options = {"space": {}, "num_samples": count, "search_alg": searcher}
    gate = scheduler if rule is None else _StoredGate(scheduler, judge)
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stdout(None),  # Tune prints tables
        simulated(SLOTS, report, seed=seed) as log,
    ):
        tuner(Path(folder), gate, **options).fit()
    known = [Ran(i, 0, probed=True, condemned=True) for i in condemned]
    ran = [Ran(i, done, probed=rule is not None) for i, done in epochs.items()]
    return known + ran, log.worker_starts


def _key(trained: Trained, parameters: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(parameters[name] for name in trained.distributions)
