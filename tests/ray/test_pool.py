"""Real probe actors, and what can go wrong with them."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from torch import Tensor, nn

import recent_prune as rp
from recent_prune.ray.judging.outcome import Candidate, Outcome
from recent_prune.ray.limits import PoolLimits
from recent_prune.ray.pool import ProbeActor, ProbePool
from recent_prune.ray.probing import ProbeSettings, pickled

pytestmark = pytest.mark.usefixtures("local_ray")

PATIENCE_S = 300.0  # a busy machine starts an actor in tens of seconds


def build(config: dict[str, Any]) -> nn.Module:
    if "note" in config:  # that it was asked for, and by which process
        with Path(config["note"]).open("a") as file:
            file.write(f"{os.getpid()}\n")
    if config.get("raises"):
        raise RuntimeError("as told")
    if config.get("kills") and not Path(config["kills"]).exists():
        Path(config["kills"]).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if config.get("always_kills"):
        os.kill(os.getpid(), signal.SIGKILL)
    if config.get("hangs"):
        time.sleep(1000)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))


@pytest.fixture
def make(digits: Tensor) -> Iterator[Callable[..., ProbePool]]:
    pools: list[ProbePool] = []

    def make(inputs: Any = digits[:64], gives_up: bool = True, **limits: Any) -> ProbePool:
        settings = ProbeSettings(build, inputs, rp.TrainabilityRule(), "ridge", None, rtol=0.005)
        known: dict[str, Any] = {
            "actors": 1,
            "resources": {"CPU": 0.0},
            "batch_size": 4,
            "timeout_s": 100.0,
            "start_timeout_s": 200.0,
            "idle_s": 5.0,
        }
        pools.append(ProbePool(pickled(settings), PoolLimits(**{**known, **limits}), gives_up))
        return pools[-1]

    yield make
    for pool in pools:
        pool.release()


def outcomes(pool: ProbePool, count: int, **options: Any) -> dict[str, Outcome]:
    found: dict[str, Outcome] = {}
    end = time.monotonic() + PATIENCE_S
    while len(found) < count and time.monotonic() < end:
        for outcome in pool.poll(0.1, **options):
            assert outcome.trial_id not in found
            found[outcome.trial_id] = outcome
    assert len(found) == count
    return found


def parent(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("PPid:")[1].split()[0])


def actors() -> list[int]:
    """Processes of probe actors of the Ray of this test, not of one that runs beside it."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            pid = int(folder.name)
            is_one = (folder / "cmdline").read_text().startswith("ray::ProbeActor")
            if is_one and parent(parent(pid)) == os.getpid():  # raylet, driver
                found.append(pid)
    return found


def holds(cpus: float) -> bool:
    """Whether so much is held, as far as Ray knows, whose count lags behind."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if 2.0 - float(ray.available_resources().get("CPU", 0.0)) == cpus:
            return True
        time.sleep(0.1)
    return False


def gone(before: list[int]) -> bool:
    end = time.monotonic() + 90
    while set(actors()) - set(before) and time.monotonic() < end:
        time.sleep(0.2)
    return not set(actors()) - set(before)


def test_actors_start_on_demand_answer_without_waiting_and_are_released_when_idle(
    make: Callable[..., ProbePool],
) -> None:
    before = actors()
    pool = make(idle_s=1.0)
    assert pool.poll() == []
    assert not set(actors()) - set(before)
    for number in range(10):
        pool.submit(Candidate(str(number), {}))
    assert pool.poll() == []
    assert [worker.starting for worker in pool._workers] == [True]  # nobody waited for it
    found = outcomes(pool, 10)
    assert list(found) == [str(number) for number in range(10)]
    assert all(outcome.summary["trainable"] for outcome in found.values())
    assert len(set(actors()) - set(before)) <= 1
    assert gone(before)  # nobody polls any more


@pytest.mark.parametrize("kind", ["cuda", "xpu", None])
def test_an_actor_with_an_accelerator_uses_it_where_there_is_one(
    kind: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = None if kind is None else torch.device(kind)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: found is not None)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: found)
    assert ProbeActor(b"", accelerated=True)._device == (kind or "cpu")
    assert ProbeActor(b"", accelerated=False)._device == "cpu"


@pytest.mark.slow
def test_an_actor_that_nobody_asks_any_more_is_released(make: Callable[..., ProbePool]) -> None:
    before = actors()
    pool = make(idle_s=0.5, timeout_s=1.0)
    pool.submit(Candidate("a", {"hangs": True}))
    end = time.monotonic() + PATIENCE_S
    while not any(worker.batch for worker in pool._workers) and time.monotonic() < end:
        pool.poll(0.1)
    assert set(actors()) - set(before)  # it probes now, and then the driver is gone
    assert gone(before)


@pytest.mark.slow
def test_inputs_are_loaded_once_where_the_probe_runs_and_a_bad_model_harms_no_other(
    make: Callable[..., ProbePool], tmp_path: Path
) -> None:
    def load() -> Iterator[Tensor]:
        (tmp_path / str(os.getpid())).touch()
        yield torch.rand(64, 64)

    before = actors()
    pool = make(inputs=load, idle_s=1000.0, batch_size=2)
    for number in range(3):
        pool.submit(Candidate(str(number), {"raises": number == 0}))
    found = outcomes(pool, 3)
    assert found["0"].fault == "build_model failed: RuntimeError: as told"
    assert [found[name].fault for name in "12"] == [None, None]
    assert len(list(tmp_path.iterdir())) == 1
    assert not (tmp_path / str(os.getpid())).exists()
    pool.release()
    assert gone(before)


def test_a_killed_actor_costs_no_verdict(make: Callable[..., ProbePool], tmp_path: Path) -> None:
    pool = make()
    for number in range(3):
        config = {"kills": str(tmp_path / "killed")} if number == 1 else {}
        pool.submit(Candidate(str(number), config))
    found = outcomes(pool, 3)
    assert (tmp_path / "killed").exists()
    assert all(outcome.fault is None for outcome in found.values())


@pytest.mark.slow
def test_what_kills_each_actor_is_found_and_the_others_are_probed(
    make: Callable[..., ProbePool],
) -> None:
    pool = make()
    for number in range(6):  # side by side, as a grid would have them
        pool.submit(Candidate(str(number), {"always_kills": number in (2, 3)}))
    found = outcomes(pool, 6)
    assert [i for i in range(6) if found[str(i)].fault] == [2, 3]
    assert "Actor" in str(found["2"].fault)
    pool.submit(Candidate("later", {}))
    assert outcomes(pool, 1)["later"].fault is None


@pytest.mark.slow
def test_a_probe_that_hangs_is_given_up(make: Callable[..., ProbePool]) -> None:
    pool = make(timeout_s=2.0)
    pool.submit(Candidate("hangs", {"hangs": True}))
    pool.submit(Candidate("good", {}))
    found = outcomes(pool, 2)
    assert found["hangs"].fault == "no answer in 2 s"
    assert found["good"].fault is None


@pytest.mark.slow
def test_after_too_many_bad_trials_in_a_row_nothing_more_is_tried(
    make: Callable[..., ProbePool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recent_prune.ray.pool.GUILTY", 2)
    pool = make(batch_size=1)
    for number in range(4):
        pool.submit(Candidate(str(number), {"always_kills": True, "note": str(tmp_path / "n")}))
    found = outcomes(pool, 4)
    assert all(outcome.fault for outcome in found.values())
    assert len((tmp_path / "n").read_text().splitlines()) == 2 * 2
    pool.submit(Candidate("later", {}))
    assert outcomes(pool, 1)["later"].fault


@pytest.mark.slow
def test_unless_it_is_told_to_try_each(make: Callable[..., ProbePool], tmp_path: Path) -> None:
    pool = make(batch_size=1, gives_up=False)
    for number in range(2):
        pool.submit(Candidate(str(number), {"always_kills": True, "note": str(tmp_path / "n")}))
    pool.submit(Candidate("good", {}))
    found = outcomes(pool, 3)
    assert found["good"].fault is None
    assert len((tmp_path / "n").read_text().splitlines()) == 4


def test_no_resources_for_a_probe(make: Callable[..., ProbePool]) -> None:
    pool = make(resources={"GPU": 1.0}, start_timeout_s=1.0)
    pool.submit(Candidate("a", {}))
    # While trials run it waits for what they will free.
    end = time.monotonic() + 2.0
    while time.monotonic() < end:
        assert pool.poll(0.1, patient=True) == []
    found = outcomes(pool, 1)
    assert found["a"].fault == "no actor with {'GPU': 1.0} started in 1 s"
    pool.submit(Candidate("b", {}))
    assert pool.poll()[0].fault == found["a"].fault


@pytest.mark.slow
def test_actors_that_hold_resources_stand_back(make: Callable[..., ProbePool]) -> None:
    before = actors()
    pool = make(resources={"CPU": 1.0}, idle_s=1000.0)
    pool.submit(Candidate("a", {}))
    outcomes(pool, 1)
    assert holds(1.0)
    pool.submit(Candidate("b", {}))
    assert pool.poll(0.1, hold_back=True) == []
    assert gone(before)
    for _ in range(10):  # and they stay back
        assert pool.poll(0.05, hold_back=True) == []
        assert not set(actors()) - set(before)
    assert holds(0.0)
    assert outcomes(pool, 1)["b"].fault is None


def test_inputs_that_cannot_be_loaded(
    make: Callable[..., ProbePool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recent_prune.ray.pool.FAILED_STARTS", 1)

    def load() -> Tensor:
        raise FileNotFoundError("no data here")

    pool = make(inputs=load)
    pool.submit(Candidate("a", {}))
    found = outcomes(pool, 1)
    assert "no data here" in str(found["a"].fault)


@pytest.mark.slow
def test_a_driver_that_is_slow_does_not_lose_an_actor_that_starts_and_holds_nothing(
    make: Callable[..., ProbePool],
) -> None:
    pool = make(idle_s=0.05)
    pool.submit(Candidate("a", {}))
    pool.poll()
    [worker] = pool._workers
    time.sleep(1.0)
    pool.poll()
    assert pool._workers == [worker]
    assert outcomes(pool, 1, hold_back=True)["a"].fault is None


def test_a_discarded_candidate_is_not_probed(
    make: Callable[..., ProbePool], tmp_path: Path
) -> None:
    pool = make()
    pool.submit(Candidate("a", {"note": str(tmp_path / "note")}))
    pool.discard("a")
    assert pool.poll(0.1) == []
    assert not (tmp_path / "note").exists()
