from __future__ import annotations

import math
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from recent_prune.preflight import Limits, Room, limits, room_of

CPU = torch.device("cpu")
MIB = 2**20


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Linux with 1,000 MiB, of which 600 are available; this process has 100, and no container."""
    proc = tmp_path / "proc"
    (proc / "self").mkdir(parents=True)
    meminfo = f"MemTotal: {1000 * 1024} kB\nMemFree: 1 kB\nMemAvailable: {600 * 1024} kB\n"
    (proc / "meminfo").write_text(meminfo)
    (proc / "self" / "status").write_text(f"VmHWM: 9 kB\nVmRSS: {100 * 1024} kB\n")
    (proc / "self" / "cgroup").write_text("0::/\n")
    monkeypatch.setattr(limits, "PROC", proc)
    monkeypatch.setattr(limits, "CGROUP", tmp_path / "cgroup")
    return tmp_path


def group(folder: Path, names: tuple[str, str], most: str, used: int, cached: str) -> None:
    folder.mkdir(parents=True)
    (folder / names[0]).write_text(f"{most}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{cached}\n")


V2 = ("memory.max", "memory.current")
V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes")


def test_a_machine(machine: Path) -> None:
    assert room_of(CPU) == Room(free=600 * MIB, capacity=900 * MIB)


def test_a_container_has_less(machine: Path) -> None:
    cached = f"inactive_file {50 * MIB}"
    group(machine / "cgroup", V2, str(400 * MIB), 250 * MIB, cached)
    assert room_of(CPU) == Room(free=200 * MIB, capacity=300 * MIB)


def test_a_group_around_it_may_have_less_still(machine: Path) -> None:
    (machine / "proc" / "self" / "cgroup").write_text("0::/slurm/job\n")
    group(machine / "cgroup" / "slurm" / "job", V2, "max", 10, "inactive_file 0")
    group(machine / "cgroup" / "slurm2", V2, "1", 1, "inactive_file 0")  # of another
    cached = "inactive_file 0"
    for name, value in zip((*V2, "memory.stat"), (str(300 * MIB), "0", cached), strict=True):
        (machine / "cgroup" / "slurm" / name).write_text(value)
    assert room_of(CPU) == Room(free=300 * MIB, capacity=200 * MIB)


def test_control_groups_of_version_1(machine: Path) -> None:
    (machine / "proc" / "self" / "cgroup").write_text("7:cpu,memory:/job\n0::/\n")
    cached = f"inactive_file 1\ntotal_inactive_file {10 * MIB}"
    group(machine / "cgroup" / "memory" / "job", V1, str(500 * MIB), 110 * MIB, cached)
    assert room_of(CPU) == Room(free=400 * MIB, capacity=400 * MIB)


def test_what_lies_there_of_the_model_is_no_less_room(machine: Path) -> None:
    model = nn.Linear(1024, 1024, bias=False)
    tied = nn.Sequential(model, nn.Linear(1024, 1024, bias=False))
    tied[1].weight = model.weight
    assert room_of(CPU, tied) == Room(free=604 * MIB, capacity=904 * MIB)
    assert room_of(CPU, model.to("meta")) == Room(free=600 * MIB, capacity=900 * MIB)


def test_unknown_machines_and_devices(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert room_of(torch.device("mps")) is None
    monkeypatch.setattr(limits, "PROC", tmp_path)
    assert room_of(CPU) is None


def test_this_machine() -> None:
    room = room_of(CPU)
    assert room is not None
    assert 0 < room.free <= room.capacity + 2**34


def test_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 80: this process holds 10 and has cached 5 more, others hold 20."""
    numbers = {"mem_get_info": (45, 80), "memory_allocated": 10, "memory_reserved": 15}
    for name, value in numbers.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert room_of(torch.device("cuda", 0)) == Room(free=50, capacity=70)


def test_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert room_of(torch.device("cuda")) is None


def test_limits_give_the_room_that_is_meant(machine: Path) -> None:
    assert Limits().room("cpu") == Room(600 * MIB, 900 * MIB)
    assert Limits(memory=5e9).room("cuda") == Room(5 * 10**9, 5 * 10**9)
    assert Limits(memory=None, seconds=3.0).room("cpu") is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"memory": 0},
            r"`memory` must be a positive number of bytes, 'device', bytes by kind or None, "
            "but got 0",
        ),
        ({"memory": "cuda"}, r"`memory` must be a positive number of bytes.*got 'cuda'"),
        ({"memory": float("inf")}, r"`memory` must be a positive number.*got inf"),
        ({"memory": True}, r"`memory` must be a positive number.*got True"),
        ({"memory": {}}, r"`memory` must hold a kind of worker at least, but got {}"),
        ({"memory": {"T4": None}}, r"`memory\['T4'\]` must be a positive.* bytes, but got None"),
        ({"memory": {"T4": -1}}, r"`memory\['T4'\]` must be a positive.* bytes, but got -1"),
        ({"seconds": -1.0}, r"`seconds` must be a positive number or None, but got -1.0"),
        ({"margin": 1.0}, r"`margin` must be in \[0, 1\), but got 1.0"),
        ({"margin": "0.1"}, r"`margin` must be in \[0, 1\), but got '0.1'"),
    ],
)
def test_bad_limits(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Limits(**given)


@pytest.mark.parametrize("until", [1_000.0, datetime.fromtimestamp(1_000, UTC)])
def test_what_is_left_until_then(monkeypatch: pytest.MonkeyPatch, until: Any) -> None:
    monkeypatch.setattr(time, "time", lambda: 400.0)
    assert Limits().time() is None
    assert Limits(seconds=3.0).time() == 3.0
    assert Limits(until=until).time() == 600.0
    assert Limits(until=until, seconds=700).time() == 600.0
    assert Limits(until=until, seconds=500).time() == 500.0
    monkeypatch.setattr(time, "time", lambda: 1_001.0)
    assert Limits(until=until).time() == 0.0


def test_kinds_have_names_and_numbers_may_be_those_of_numpy() -> None:
    assert Limits(memory=np.int64(10**9)).memory == 10**9  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="`memory` must name kinds of workers, but got 16"):
        Limits(memory={16: 5e9})  # type: ignore[dict-item]


def test_until_is_no_nan() -> None:
    with pytest.raises(TypeError, match=r"`until` must be a datetime, seconds.*but got nan"):
        Limits(until=math.nan)


def test_until_is_a_time() -> None:
    with pytest.raises(TypeError, match=r"`until` must be a datetime, seconds.*but got '12:00'"):
        Limits(until="12:00")  # type: ignore[arg-type]
