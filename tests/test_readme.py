"""What the README shows, runs, from top to bottom."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from ray import tune

from recent_prune.ray import probed_trials
from tests.markdown import ran
from tests.ray.session import local_ray_session

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def small_ray() -> Iterator[None]:
    with local_ray_session():
        yield


@pytest.fixture
def folders() -> Iterator[list[str]]:
    """Removed afterwards: what a sweep leaves in the home directory."""
    found: list[str] = []
    yield found
    for folder in found:
        shutil.rmtree(folder)


@pytest.mark.usefixtures("small_ray")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_code_runs(tmp_path: Path, folders: list[str]) -> None:
    printed, results = [], []
    for found in ran(README, tmp_path):
        if found.block.language == "python":
            names = found.names
            printed.append(found.printed)
            results.append(names.get("results"))
    study, sweep, many = names["study"], results[2], names["results"]
    assert isinstance(study, optuna.Study)
    assert len(study.trials) == 20
    assert "good trials lost, at most" in printed[1]
    assert isinstance(sweep, tune.ResultGrid)
    folders.append(sweep.experiment_path)
    assert sweep.num_errors == 0
    assert probed_trials(sweep)["fault"].isna().tolist() == [True] * 8
    assert "Only 0.00% of the input is retained at 'tanh50'" in printed[3]
    assert printed[4].startswith("hidden1 ")
    assert isinstance(many, list)
    assert len(many) == 32
