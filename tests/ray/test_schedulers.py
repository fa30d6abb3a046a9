"""What is used of internals of schedulers is there, and means what it is taken for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ray import tune
from ray.tune.schedulers import (
    ASHAScheduler,
    HyperBandForBOHB,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    ResourceChangingScheduler,
    TrialScheduler,
)

from recent_prune.ray import schedulers
from tests.ray.simulated_actors import Dies
from tests.ray.simulation import SimulatedGate, simulated, tuner

pytestmark = pytest.mark.usefixtures("local_ray")


@pytest.mark.parametrize(
    "scheduler", [ASHAScheduler, HyperBandScheduler, HyperBandForBOHB, MedianStoppingRule]
)
def test_mode_of_a_scheduler(scheduler: Any) -> None:
    assert schedulers.mode_of(scheduler(metric="loss", mode="min")) == "min"
    assert schedulers.mode_of(scheduler()) is None


def test_innermost_scheduler() -> None:
    asha = ASHAScheduler()
    assert schedulers.innermost(ResourceChangingScheduler(asha)) is asha
    assert schedulers.innermost(asha) is asha


def test_schedulers_that_compare_all_trials_are_recognised() -> None:
    def pbt(synch: bool) -> PopulationBasedTraining:
        return PopulationBasedTraining(
            synch=synch, hyperparam_mutations={"lr": tune.uniform(0.0, 1.0)}
        )

    together = (HyperBandScheduler(), pbt(True), ResourceChangingScheduler(pbt(True)))
    assert all(map(schedulers.waits_for_all, together))
    alone = (ASHAScheduler(), pbt(False), HyperBandForBOHB())
    assert not any(map(schedulers.waits_for_all, alone))
    assert schedulers.is_bohb(HyperBandForBOHB())
    assert not schedulers.is_bohb(HyperBandScheduler())


def the_last_dies(among: set[int], at: int) -> Dies:
    """Of some trials, the worker of the last that comes to an iteration dies in it, once."""
    came: list[int] = []

    def dies(config: dict[str, Any], iteration: int) -> bool:
        if iteration != at or config["index"] not in among or config["index"] in came:
            return False
        came.append(config["index"])
        return len(came) == len(among)

    return dies


FORGETS = pytest.mark.parametrize(
    ("max_t", "count", "among", "at"),
    [
        pytest.param(4, 4, {0, 1}, 4, id="in the last round"),
        pytest.param(9, 18, {14, 15, 16}, 3, id="after a halving"),
    ],
)


def hyperband(path: Path, gated: bool, max_t: int, count: int) -> tune.ResultGrid:
    scheduler: TrialScheduler = HyperBandScheduler(max_t=max_t)
    space = {
        "index": tune.grid_search(list(range(count))),
        "quality": tune.sample_from(lambda config: config["index"] / 100),
    }
    run = {"failure_config": tune.FailureConfig(max_failures=1)}
    scheduler = SimulatedGate(scheduler) if gated else scheduler
    return tuner(path, scheduler, space, 1, run=run).fit()


@FORGETS
def test_trials_that_hyperband_forgets_go_on(
    max_t: int, count: int, among: set[int], at: int, tmp_path: Path
) -> None:
    with simulated(slots=count, dies=the_last_dies(among, at)):
        results = hyperband(tmp_path, True, max_t, count)
    assert results.num_terminated == count


@FORGETS
def test_hyperband_alone_forgets_them(
    max_t: int, count: int, among: set[int], at: int, tmp_path: Path
) -> None:
    """Where this fails, a new Ray does without `go_on_with_forgotten`."""
    hangs = pytest.raises(AssertionError, match="nothing happens any more")
    with simulated(slots=count, dies=the_last_dies(among, at)), hangs:
        hyperband(tmp_path, False, max_t, count)
