from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from recent_prune.cli import app
from tests.optuna.studies import run as run_study


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"sqlite:///{tmp_path_factory.mktemp('report') / 'study.db'}"
    run_study(6, storage=url, name="mine")
    return url


def test_page_is_written(storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    page = tmp_path / "report.html"
    run = CliRunner().invoke(app, ["report", storage, "mine", "--page", str(page)])
    assert run.exit_code == 0, run.output
    assert "pruned by the probe" in run.output
    assert max(map(len, run.output.splitlines()[:-1])) <= 80
    assert "recent_prune: mine" in page.read_text(encoding="utf-8")


def test_json_for_scripts(storage: str) -> None:
    run = CliRunner().invoke(app, ["report", storage, "mine", "--json"])
    assert json.loads(run.output)["summary"]["finished trials"] == "6"


def test_errors_are_one_line(storage: str) -> None:
    run = CliRunner().invoke(app, ["report", storage, "yours"])
    assert run.exit_code == 1
    assert run.stderr.splitlines() == [f"Error: STUDY yours is not in {storage}, which has: mine"]
    run = CliRunner().invoke(app, ["report", storage, "mine", "--page", "/nowhere/page.html"])
    assert run.stderr.splitlines() == [
        "Error: --page must lie in a folder that exists, but got /nowhere/page.html"
    ]
