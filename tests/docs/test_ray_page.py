"""The page about Ray Tune runs, in a Ray of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ray import tune

from recent_prune.ray import probed_trials
from tests.markdown import run_page
from tests.ray.session import local_ray_session

PAGE = Path(__file__).parents[2] / "docs" / "start_ray.md"

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(autouse=True)
def own_ray() -> Iterator[None]:
    with local_ray_session():
        yield


@pytest.mark.slow
def test_all_of_it_runs(tmp_path: Path) -> None:
    names = run_page(PAGE, tmp_path)
    sweeps = [names[name] for name in ("results", "ranked", "watching")]
    for sweep in sweeps:
        assert isinstance(sweep, tune.ResultGrid)
        assert sweep.num_errors == 0
    assert probed_trials(sweeps[0])["fault"].isna().all()
    assert "digits" in (tmp_path / "report.html").read_text(encoding="utf-8")
