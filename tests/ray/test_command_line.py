"""`recent-prune report` and `audit` on the folder of a Tune run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from recent_prune.cli import app
from tests.ray.simulation import simulated, tuner
from tests.ray.test_rung_zero import RankedGate, space

pytestmark = pytest.mark.usefixtures("local_ray")


@pytest.fixture(scope="module")
def folder(local_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs")
    with simulated():
        tuner(path, RankedGate(keep=1 / 4, explore=0.4), space(16, doomed=4), 1).fit()
    return path / "run"


def invoked(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def reported_without_ray(folder: Path, metric: str) -> dict[str, Any]:
    """The summary as the command gives it in a process of its own, where no Ray runs."""
    command = [sys.executable, "-m", "recent_prune", "report", str(folder), "--metric", metric]
    run = subprocess.run([*command, "--json"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    summary: dict[str, Any] = json.loads(run.stdout)["summary"]
    return summary


def test_report(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    run = invoked("report", str(folder), "--metric", "score", "--page", str(page))
    assert run.exit_code == 0, run.output
    assert "recent_prune: run" in page.read_text(encoding="utf-8")
    known = json.loads(invoked("report", str(folder), "--metric", "score", "--json").output)
    assert known["title"] == "run"
    assert known["summary"]["finished trials"] == "16"
    assert known["summary"]["pruned by the probe"].startswith("4 ")
    assert known["summary"]["values"] != "–"
    assert len(known["pruned"]) == 4


def test_report_where_no_ray_runs(folder: Path) -> None:
    assert reported_without_ray(folder, "score")["finished trials"] == "16"


def test_report_without_a_metric_knows_no_values(folder: Path) -> None:
    known = json.loads(invoked("report", str(folder), "--json").output)
    assert known["summary"]["values"] == "–"


def test_audit(folder: Path) -> None:
    run = invoked("audit", str(folder), "--json")
    assert run.exit_code == 0, run.output
    figures = {line["figure"]: line["value"] for line in json.loads(run.output)}
    assert any("random" in name for name in figures)


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    run = invoked("audit", str(tmp_path))
    assert run.exit_code == 1
    assert len(run.stderr.splitlines()) == 1
    assert f"{tmp_path} is not the folder of a Tune run" in run.stderr


def test_a_run_has_no_studies(folder: Path) -> None:
    assert "so a Tune run: leave out STUDY mine" in invoked("audit", str(folder), "mine").stderr
