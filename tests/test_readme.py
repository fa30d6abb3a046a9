"""What the README shows, runs, from top to bottom."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from ray import tune

from recent_prune.ray import probed_trials
from tests.ray.session import local_ray_session

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def small_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A Ray without a dashboard, whose results do not land in the home directory."""
    monkeypatch.setenv("HOME", str(tmp_path))
    with local_ray_session():
        yield


@pytest.mark.xdist_group("simulated")
@pytest.mark.usefixtures("small_ray")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_code_runs(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {"__name__": "__main__"}
    printed, results = [], []
    for block in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL):
        exec(block, names)
        printed.append(capsys.readouterr().out)
        results.append(names.get("results"))
    study, sweep, many = names["study"], results[2], names["results"]
    assert isinstance(study, optuna.Study)
    assert len(study.trials) == 20
    assert "good trials lost, at most" in printed[1]
    assert isinstance(sweep, tune.ResultGrid)
    assert sweep.num_errors == 0
    assert probed_trials(sweep)["fault"].isna().tolist() == [True] * 8
    assert "Only 0.00% of the input is retained at 'tanh50'" in printed[3]
    assert printed[4].startswith("hidden1 ")
    assert isinstance(many, list)
    assert len(many) == 32
