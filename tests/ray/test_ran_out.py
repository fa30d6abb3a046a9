"""Trials that run out of memory though they were estimated to fit."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.fs
import pytest
import ray
import torch
from ray import tune

import recent_prune as rp
from recent_prune.ray import ReconstructionEntropyScheduler, probed_trials
from recent_prune.ray.judging.memory import RanOut
from recent_prune.ray.judging.outcome import Outcome
from recent_prune.ray.tune_controller import ran_out_alone, ran_out_of_memory
from recent_prune.report import StudyReport, trials_table
from tests.ray.test_command_line import reported_without_ray
from tests.ray.test_preflight import BATCHES, build, outcome, training

MIB = 2**20


def judged(estimate: float, *, free: float | None = 100.0, limit: float | None = 100.0) -> Outcome:
    memory = {"estimate": estimate, "limit": limit, "free": free}
    return Outcome(f"{estimate}", summary={"trainable": True, "violation": -0.5}, memory=memory)


class TestRanOut:
    def test_one_that_would_not_fit_either_is_condemned(self) -> None:
        ran_out = RanOut()
        assert ran_out.corrected(judged(90.0)).passes
        ran_out.add(judged(80.0))
        found = ran_out.corrected(judged(90.0))
        assert found.condemned
        assert found.summary["cause"] == "too_large"
        assert "more than 1.25 times its estimate ran out of memory" in str(found.summary["reason"])
        assert found.violation == pytest.approx(1 - 100 / (90 * 100 / 80), rel=1e-3)
        assert ran_out.corrected(judged(70.0)).passes

    def test_nothing_is_learnt_where_trials_share_the_memory(self) -> None:
        ran_out = RanOut()
        ran_out.add(judged(80.0, free=None))
        ran_out.add(Outcome("never asked", summary={"trainable": True}))
        assert ran_out.corrected(judged(90.0)).passes

    def test_nor_where_the_estimate_cannot_be_what_is_wrong(self) -> None:
        ran_out = RanOut()
        ran_out.add(judged(10.0))
        assert ran_out.corrected(judged(90.0)).passes

    @pytest.mark.parametrize("other", [Outcome("a"), judged(500.0, limit=None)])
    def test_one_of_which_nothing_is_known_stays(self, other: Outcome) -> None:
        ran_out = RanOut()
        ran_out.add(judged(80.0))
        assert ran_out.corrected(other) is other


def failed(stored: Path, local: Path, **resources: float) -> Any:
    """A trial that left ``error.txt``."""
    return SimpleNamespace(
        run_metadata=SimpleNamespace(error_filename="error.txt"),
        local_path=str(local),
        storage=SimpleNamespace(
            storage_filesystem=pyarrow.fs.LocalFileSystem(), trial_fs_path=str(stored)
        ),
        placement_group_factory=SimpleNamespace(required_resources=resources),
    )


class TestErrors:
    @staticmethod
    def said(folder: Path, text: str, **resources: float) -> bool:
        (folder / "error.txt").write_text(text)
        trial = failed(folder, folder / "not there", **resources)
        assert ran_out_alone(trial) is (ran_out_of_memory(trial) and resources.get("GPU", 1) >= 1)
        return ran_out_alone(trial)

    @pytest.mark.parametrize(
        "last",
        [
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
            "MemoryError",
            "ray.exceptions.OutOfMemoryError: Task was killed due to the node running low",
            "RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory",
        ],
    )
    def test_memory_is_told_from_others(self, last: str, tmp_path: Path) -> None:
        assert self.said(tmp_path, f"Traceback:\n  File\n{last}\n")
        assert self.said(tmp_path, last, GPU=1.0)
        assert not self.said(tmp_path, last, GPU=0.5)  # another trial may have taken it
        assert not self.said(tmp_path, f"{last}\n" + "  later\n" * 30 + "ValueError: no")

    def test_others(self, tmp_path: Path) -> None:
        assert not self.said(tmp_path, "ValueError: of memory nothing is said")
        trial = failed(tmp_path, tmp_path)
        trial.run_metadata.error_filename = None
        assert not ran_out_of_memory(trial)

    def test_the_local_file_is_the_newer_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        local, stored = tmp_path / "local", tmp_path / "stored"
        for folder in (local, stored):
            folder.mkdir()
        trial = failed(stored, local)
        assert not ran_out_of_memory(trial)  # neither is there
        (stored / "error.txt").write_text("MemoryError")
        monkeypatch.setattr(ray, "is_initialized", lambda: True)
        assert ran_out_of_memory(trial)  # as in a new session
        (local / "error.txt").write_text("ValueError: no")
        assert not ran_out_of_memory(trial)
        monkeypatch.setattr(ray, "is_initialized", lambda: False)
        del trial.local_path  # Tune raises
        assert ran_out_of_memory(trial)


def test_an_actor_tells_what_a_trial_takes_and_has_for_itself() -> None:
    memory = outcome({"width": 16}).memory
    assert memory["limit"] == memory["free"] == 8 * MIB
    assert outcome({"width": 2048}).memory["estimate"] > 8 * MIB  # type: ignore[operator]
    shared = outcome({"width": 16}, limits=rp.Limits()).memory
    assert shared["free"] is None
    assert outcome({"width": 16}, limits=None).memory == {}


def train(config: dict[str, Any]) -> None:
    if config["width"] == 512:
        raise torch.OutOfMemoryError("CUDA out of memory.")
    tune.report({"score": 1.0})


@pytest.mark.usefixtures("local_ray")
def test_a_sweep_learns_from_it(tmp_path: Path) -> None:
    needed = {w: outcome({"width": w}).memory["estimate"] for w in (512, 600)}
    limit = int(1.02 * (needed[600] or 0))
    scheduler = ReconstructionEntropyScheduler(
        build, BATCHES, training=training, preflight=rp.Limits(memory=limit), batch_size=1
    )
    results = tune.Tuner(
        train,
        param_space={"width": tune.grid_search([512, 16, 600])},
        tune_config=tune.TuneConfig(
            metric="score", mode="max", scheduler=scheduler, max_concurrent_trials=1
        ),
        run_config=tune.RunConfig(storage_path=str(tmp_path), name="run", verbose=0),
    ).fit()
    assert results.num_errors == 1
    assert "2 passed, 1 rejected" in scheduler.debug_string()
    assert "1 ran out of memory" in scheduler.debug_string()
    probes = probed_trials(results)
    assert probes["cause"].tolist()[-1] == "too_large"
    assert probes["memory_limit"].tolist() == [limit] * 3
    table = trials_table(results)
    assert table["out_of_memory"].tolist() == [True, False, False]
    told = StudyReport.of(results).summary["value"]
    assert told["ran out of memory all the same"] == "1"
    found = reported_without_ray(tmp_path / "run", "score")
    assert found["ran out of memory all the same"] == "1"
