from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from typer.testing import CliRunner

from recent_prune.cli import app

SMALL = ["--train-samples", "128", "--epochs", "1", "--trials", "5"]


def arguments(folder: Path) -> list[str]:
    return [
        "demo",
        *SMALL,
        "--storage",
        f"sqlite:///{folder / 'demo.db'}",
        "--page",
        str(folder / "demo.html"),
    ]


def test_demo_prints_and_writes_what_was_saved(tmp_path: Path) -> None:
    run = CliRunner().invoke(app, arguments(tmp_path))
    assert run.exit_code == 0, run.output
    assert "best test accuracy" in run.output
    assert "without" in run.output
    page = (tmp_path / "demo.html").read_text(encoding="utf-8")
    assert "recent_prune demo" in page
    names = optuna.get_all_study_names(f"sqlite:///{tmp_path / 'demo.db'}")
    assert sorted(names) == ["demo-digits", "demo-digits-without"]

    scripted = CliRunner().invoke(app, [*arguments(tmp_path), "--json"])
    known = json.loads(scripted.stdout)
    assert known["study"] == "demo-digits"
    assert known["page"] == str(tmp_path / "demo.html")
    assert known["summary"]["with recent_prune"]["trials"] == "5"
    assert set(known["summary"]) == {"with recent_prune", "without", "saved"}

    again = CliRunner().invoke(app, arguments(tmp_path))
    assert again.exit_code == 0
    assert "All trials were there already" in again.output
    assert "All trials were there already" not in run.output
    table = [line for line in run.output.splitlines() if line.startswith("│")]
    assert table
    assert all(line in again.output for line in table)


def test_demo_without_comparison(tmp_path: Path) -> None:
    run = CliRunner().invoke(app, [*arguments(tmp_path), "--no-comparison", "--sampler", "tpe"])
    assert run.exit_code == 0, run.output
    assert "saved" not in run.output


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--storage", "sqlite:///{folder}/nowhere/all.db"], "unable to open database file"),
        (
            ["--page", "{folder}/nowhere/page.html"],
            "--page must lie in a folder that exists, but got",
        ),
        (["--data", "mnist", "--data-root", "{folder}/data"], "MNIST is not in {folder}/data"),
    ],
)
def test_errors_are_one_line(
    extra: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", [])
    extra = [text.format(folder=tmp_path) for text in extra]
    run = CliRunner().invoke(app, [*arguments(tmp_path), *extra])
    assert run.exit_code == 1
    lines = [line for line in run.stderr.splitlines() if line.strip()]
    assert len(lines) == 1
    assert lines[0].startswith("Error:")
    assert message.format(folder=tmp_path) in lines[0]


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    command = ["--debug", *arguments(tmp_path), "--storage", f"sqlite:///{tmp_path}/nowhere/all.db"]
    run = CliRunner().invoke(app, command)
    assert run.exit_code == 1
    assert "unable to open database file" in str(run.exception)


def test_other_settings_are_refused(tmp_path: Path) -> None:
    command = [*arguments(tmp_path), "--trials", "1", "--no-comparison"]
    assert CliRunner().invoke(app, command).exit_code == 0
    run = CliRunner().invoke(app, [*arguments(tmp_path), "--epochs", "2"])
    assert run.exit_code == 1
    assert "choose another --storage or --study-name" in " ".join(run.stderr.split())


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--page", "."], "is a directory"),
        (["--seed", "-1"], "should be greater than or equal to 0"),
    ],
)
def test_bad_options_are_refused_before_anything_runs(
    extra: list[str], message: str, tmp_path: Path
) -> None:
    run = CliRunner().invoke(app, [*arguments(tmp_path), *extra])
    assert run.exit_code == 2
    assert message in " ".join(run.stderr.replace("│", "").split())
    assert not (tmp_path / "demo.db").exists()


def test_passwords_are_not_shown() -> None:
    url = "postgresql+psycopg2://me:secret@127.0.0.1:1/x"
    run = CliRunner().invoke(app, ["demo", *SMALL, "--storage", url])
    assert run.exit_code == 1
    assert "secret" not in run.output


# What a killed process leaves is gone on with in tests/demo/test_studies.py as well.
@pytest.mark.parametrize(
    "end", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)]
)
def test_demo_survives_being_ended(end: signal.Signals, tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'demo.db'}"
    command = [sys.executable, "-m", "recent_prune", *arguments(tmp_path)]
    command[command.index("--trials") + 1] = "500"
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )
    deadline = time.monotonic() + 120
    while finished(storage) < 2 and time.monotonic() < deadline:
        time.sleep(0.5)  # each look takes the process under test some of its time
    process.send_signal(end)
    _, errors = process.communicate(timeout=120)
    if end == signal.SIGINT:
        assert process.returncode == 130, errors
        assert "Interrupted: what ran is in sqlite" in errors
        assert "Traceback" not in errors
    before = finished(storage)
    assert before >= 2

    options = [*arguments(tmp_path), "--trials", str(before + 2), "--no-comparison"]
    again = CliRunner().invoke(app, options)
    assert again.exit_code == 0, again.output
    assert finished(storage) == before + 2


def finished(storage: str) -> int:
    try:
        study = optuna.load_study(study_name="demo-digits", storage=storage)
    except Exception:  # not there yet
        return 0
    return len(study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED)))
