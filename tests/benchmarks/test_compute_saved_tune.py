"""Replays through Tune, on virtual time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.compute_saved import tune_replay
from benchmarks.compute_saved.certified import certified_run
from benchmarks.compute_saved.optuna_replay import Sampler
from benchmarks.compute_saved.outcome import outcome
from benchmarks.compute_saved.table import Trained
from recent_prune import TrainabilityRule
from tests.benchmarks.test_compute_saved import trained
from tests.ray.session import local_ray_session

__all__ = ["trained"]

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(scope="module", autouse=True)
def small_ray() -> Iterator[None]:
    with local_ray_session():
        yield


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_without_a_scheduler_everything_is_trained_in_full(
    trained: Trained, sampler: Sampler
) -> None:
    ran, starts = tune_replay.replay(
        trained, tune_replay.SCHEDULERS["none"](trained.epochs), None, sampler, 0, 40
    )
    assert sorted(r.index for r in ran) == list(range(40))
    assert {r.epochs for r in ran} == {trained.epochs}
    assert starts == 40


@pytest.mark.parametrize("scheduler", ["ASHA", "HyperBand"])
def test_ours_starts_only_what_passes(trained: Trained, scheduler: str) -> None:
    make = tune_replay.SCHEDULERS[scheduler]
    alone, _ = tune_replay.replay(trained, make(trained.epochs), None, "random", 0, 40)
    gated, starts = tune_replay.replay(
        trained, make(trained.epochs), TrainabilityRule(), "random", 0, 40
    )
    assert sorted(r.index for r in gated if r.condemned) == list(range(20, 40))
    assert sorted(r.index for r in gated if r.epochs) == list(range(20))
    assert all(r.probed for r in gated)
    assert starts >= 20
    one, other = outcome(trained, alone), outcome(trained, gated)
    assert 0 < one.total["flops"] < trained.flops[:, -1].sum()
    assert other.first["flops"] < one.first["flops"]


def test_a_certified_rule_needs_good_trials(trained: Trained) -> None:
    known = certified_run(trained, 0)
    assert known["calibrated"] is False
    assert "good trials" in str(known["why"])
