"""The page about Ray Tune runs, in a Ray of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray import tune

from recent_prune.ray import probed_trials
from tests.markdown import run_page
from tests.ray.session import local_ray_session

PAGE = Path(__file__).parents[2] / "docs" / "start_ray.md"
FURTHER = "## Rung zero"
"""Here begin two more sweeps, of features that tests/ray sweeps with as well."""

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(autouse=True)
def own_ray() -> Iterator[None]:
    with local_ray_session():
        yield


def is_whole(names: dict[str, Any]) -> None:
    """The first sweep ran, and every probe of it."""
    sweep = names["results"]
    assert isinstance(sweep, tune.ResultGrid)
    assert sweep.num_errors == 0
    assert probed_trials(sweep)["fault"].isna().all()


def test_the_first_sweep_runs(tmp_path: Path) -> None:
    names = run_page(PAGE, tmp_path, until=FURTHER)
    is_whole(names)
    assert "digits" in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_all_of_it_runs(tmp_path: Path) -> None:
    names = run_page(PAGE, tmp_path)
    is_whole(names)
    assert names["ranked"].num_errors == names["watching"].num_errors == 0
