"""A Tune run may be given in several ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from ray.tune import ExperimentAnalysis, ResultGrid

from recent_prune.ray import audit, calibrated, probed_trials
from recent_prune.ray.experiments import grid_of
from recent_prune.report import StudyReport, trials_table
from tests.ray.simulation import simulated, tuner
from tests.ray.test_certified import RULE
from tests.ray.test_certified import run as certified
from tests.ray.test_rung_zero import RankedGate, space

pytestmark = pytest.mark.usefixtures("local_ray")


@pytest.fixture(scope="module")
def results(local_ray: None, tmp_path_factory: pytest.TempPathFactory) -> ResultGrid:
    with simulated():
        gate = RankedGate(keep=1 / 4, explore=0.4)
        return tuner(tmp_path_factory.mktemp("a run"), gate, space(16), 1).fit()


def test_as_the_old_interface_returns_it(results: ResultGrid) -> None:
    run = ExperimentAnalysis(results.experiment_path, default_metric="score", default_mode="max")
    pd.testing.assert_frame_equal(probed_trials(run), probed_trials(results))
    found, known = (trials_table(r).set_index("param:index").sort_index() for r in (run, results))
    pd.testing.assert_frame_equal(found.drop(columns="number"), known.drop(columns="number"))
    pd.testing.assert_frame_equal(audit(run).summary, audit(results).summary)
    assert StudyReport.of(run).summary.equals(StudyReport.of(results).summary)


def test_its_folder(results: ResultGrid) -> None:
    folder = Path(results.experiment_path)
    for given in (folder, str(folder), folder.as_uri()):
        pd.testing.assert_frame_equal(audit(given).summary, audit(results).summary)
        assert len(grid_of(given)) == 16


def test_a_folder_calibrates_as_its_run_does(tmp_path: Path) -> None:
    watched = certified(tmp_path, RULE)
    assert calibrated(RULE, watched.experiment_path).fitted == calibrated(RULE, watched).fitted


def test_a_folder_of_no_run(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"nowhere is not the folder of a Tune run .with experiment"
    ):
        audit(tmp_path / "nowhere")


@pytest.mark.parametrize("given", [None, 5, [1]])
def test_something_else(given: Any) -> None:
    taken = r"must be what Tuner.* or the run's folder, but got (None|5|\[1\])"
    for function in (audit, probed_trials):
        with pytest.raises(TypeError, match=f"`experiment` {taken}"):
            function(given)
    with pytest.raises(TypeError, match=f"`experiments` {taken}"):
        calibrated(RULE, given)


def test_something_else_in_a_report(results: ResultGrid) -> None:
    for given in (None, results[0], results.experiment_path):
        wrong: Any = given
        for function in (StudyReport.of, trials_table):
            with pytest.raises(TypeError, match=r"`study` must be a Study of Optuna, .* but got"):
                function(wrong)
