from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from recent_prune.cli import app
from tests.optuna.certified_study import create, objective
from tests.optuna.ranked_study import ranked_study


def test_prints_what_was_thrown_away(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    create(storage).optimize(objective, n_trials=20)
    figure = tmp_path / "audit.html"
    run = CliRunner().invoke(
        app, ["audit", storage, "certified", "--figure", str(figure)], env={"COLUMNS": "80"}
    )
    assert run.exit_code == 0, run.output
    assert "rate of good trials lost" in " ".join(run.output.split())
    assert max(map(len, run.output.splitlines())) <= 80
    assert "Good trials lost" in figure.read_text(encoding="utf-8")


def test_prints_what_rung_zero_was_worth(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    ranked_study(storage=storage)
    figure = tmp_path / "audit.html"
    run = CliRunner().invoke(
        app, ["audit", storage, "rung", "--figure", str(figure)], env={"COLUMNS": "80"}
    )
    assert run.exit_code == 0, run.output
    assert "first ranked minus random" in " ".join(run.output.split())
    assert "What the ranking is worth" in figure.read_text(encoding="utf-8")


def test_json_for_scripts(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    create(storage).optimize(objective, n_trials=5)
    run = CliRunner().invoke(app, ["audit", storage, "certified", "--json"])
    figures = {line["figure"]: line["value"] for line in json.loads(run.output)}
    assert figures["trials"] == 5
    assert figures["condemned"] == 0


def test_a_study_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    run = CliRunner().invoke(app, ["audit", storage, "none"])
    assert run.exit_code == 1
    assert run.stderr == (
        f"Error: STORAGE {storage} cannot be read: there is no file {tmp_path / 'study.db'}\n"
    )
    assert not (tmp_path / "study.db").exists()
    create(storage)
    run = CliRunner().invoke(app, ["audit", storage, "none"])
    assert run.stderr == f"Error: STUDY none is not in {storage}, which has: certified\n"


def test_a_storage_that_cannot_be_reached_is_one_line() -> None:
    storage = "postgresql+psycopg2://me:secret@127.0.0.1:1/x"
    run = CliRunner().invoke(app, ["audit", storage, "none"])
    assert run.exit_code == 1
    assert len(run.stderr.splitlines()) == 1
    assert "me:***@127.0.0.1:1/x cannot be read" in run.stderr
    assert "secret" not in run.output
