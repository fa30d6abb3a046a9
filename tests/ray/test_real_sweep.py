"""One sweep with real probes and real trials, looked at from all sides."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ray import tune
from torch import Tensor, nn

from recent_prune.ray import ReconstructionEntropyScheduler, build_probed_model
from tests.ray.test_cluster import build, check, fit, started_in

Sweep = tuple[Path, tune.ResultGrid, ReconstructionEntropyScheduler]


def build_and_tell(config: dict[str, Any]) -> nn.Module:
    model = build(config)
    with Path(config["folder"], f"built-{os.getpid()}").open("a") as file:
        file.write(f"{config['index']} {fingerprint(model)!r}\n")
    return model


def fingerprint(model: nn.Module) -> float:
    return sum(float(p.detach().double().abs().sum()) for p in model.parameters())


def train(config: dict[str, Any]) -> None:
    Path(config["folder"], f"started-{tune.get_context().get_trial_id()}").touch()
    model = build_probed_model(build_and_tell, config)
    for iteration in range(1, 5):
        tune.report({"score": config["gain"] * iteration, "weights": fingerprint(model)})


@pytest.fixture(scope="module")
def sweep(local_ray: None, digits: Tensor, tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """What it left, and what it was run with."""
    folder = tmp_path_factory.mktemp("sweep")
    scheduler = ReconstructionEntropyScheduler(build_and_tell, digits, start_timeout_s=400.0)
    results, _ = fit(folder, scheduler, 4, resources={"cpu": 1}, trained=train)
    return folder, results, scheduler


def test_doomed_trials_never_start(sweep: Sweep) -> None:
    folder, results, scheduler = sweep
    check(results, started_in(folder))
    assert "2 passed, 2 rejected, 0 held, 0 could not" in scheduler.debug_string()


def test_the_initialization_that_was_probed_is_the_one_that_trains(
    sweep: Sweep,
) -> None:
    folder, results, _ = sweep
    built: dict[int, list[float]] = {}
    for file in folder.glob("built-*"):
        for line in file.read_text().splitlines():
            built.setdefault(int(line.split()[0]), []).append(float(line.split()[1]))
    table = results.get_dataframe().set_index("config/index")
    for index in range(4):
        assert len(set(built[index])) == 1
        assert len(built[index]) == (1 if index % 2 else 2)  # the probe, and a worker
        if index % 2 == 0:
            assert table.loc[index, "weights"] == built[index][0]
    assert len({built[index][0] for index in (0, 2)}) == 2
