from __future__ import annotations

import io
import json
import logging
import warnings

import pandas as pd
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from recent_prune import __version__
from recent_prune.cli import app
from recent_prune.cli.console import (
    answer,
    errors_in_one_line,
    rich_table,
    without_password,
)


@pytest.mark.parametrize(
    ("storage", "shown"),
    [
        ("sqlite:///study.db", "sqlite:///study.db"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("postgresql://me:secret@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:sec/ret@host/db", "postgresql://me:***@host/db"),
        (
            "postgresql://host/db?user=me&password=secret&x=1",
            "postgresql://host/db?user=me&password=***&x=1",
        ),
    ],
)
def test_passwords_are_not_shown(storage: str, shown: str) -> None:
    assert without_password(storage) == shown


def test_brackets_are_shown_as_they_are() -> None:
    console = Console(width=60, record=True)
    console.print(rich_table(pd.DataFrame({"[lr]": ["[/v2]"]}, index=["[bold]"]), "exp [/x]"))
    text = console.export_text()
    assert all(part in text for part in ("[lr]", "[/v2]", "[bold]", "exp [/x]"))


def masked() -> None:
    """What Optuna does where Ctrl-C comes while it tells a trial's value."""
    try:
        raise KeyboardInterrupt
    finally:
        raise UnboundLocalError("cannot access local variable")


def test_an_interruption_is_none_the_less_one_where_an_error_covers_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(typer.Exit, match="130") as raised, errors_in_one_line(debug=False):
        masked()
    assert raised.value.exit_code == 130
    assert capsys.readouterr().err == "Interrupted: nothing was changed.\n"


def failed(error: Exception, capsys: pytest.CaptureFixture[str]) -> str:
    """What is printed of it."""
    with pytest.raises(typer.Exit, match="1") as raised, errors_in_one_line(debug=False):
        raise error
    assert raised.value.exit_code == 1
    return capsys.readouterr().err


def test_errors_say_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert failed(ValueError("--x must\nbe 1"), capsys) == "Error: --x must be 1\n"
    assert failed(KeyError("depth"), capsys) == (
        "Error: 'depth' (KeyError; recent-prune --debug COMMAND … shows where)\n"
    )


def test_warnings_take_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with errors_in_one_line(debug=False):
        warnings.simplefilter("always")
        warnings.warn("[much]\nnoise", stacklevel=1)
    assert capsys.readouterr().err == "Warning: [much] noise\n"


def test_answers_are_json_or_told(capsys: pytest.CaptureFixture[str]) -> None:
    answer(lambda: {"α": None}, lambda: typer.echo("told"), json_=True)
    answer(lambda: "[1]", lambda: typer.echo("told"), json_=True)
    answer(lambda: {}, lambda: typer.echo("told"), json_=False)
    assert capsys.readouterr().out == '{"α": null}\n[1]\ntold\n'


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_signs_that_cannot_be_shown_are_replaced(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = CliRunner(charset=encoding)
    run = runner.invoke(app, [*BUILD, "-a", "depth=60", "-a", "gain=0.3"])
    assert run.exit_code == 3, run.output
    assert "?" in run.output
    assert runner.invoke(app, ["info"]).exit_code == 0
    shown = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr("sys.stdout", shown)
    answer(lambda: {"α": "→"}, lambda: None, json_=True)
    shown.flush()
    assert json.loads(shown.buffer.getvalue()) == {"α": "→"}


BUILD = ["probe", "tests.cli.factories:build", "--data", "digits"]


def test_quiet_by_default_and_helpful_with_v() -> None:
    quiet = CliRunner().invoke(app, [*BUILD, "--json"])
    assert quiet.stderr == ""
    told = CliRunner().invoke(app, ["-v", *BUILD, "--json"])
    assert "Sequential, 17290 parameters" in told.stderr
    assert "160 samples, 4 layers" in told.stderr
    retained = [json.loads(run.stdout)["result"]["retained"] for run in (quiet, told)]
    assert retained[0] == retained[1]
    assert logging.getLogger("recent_prune").handlers == []


def test_version() -> None:
    assert CliRunner().invoke(app, ["--version"]).output == f"recent_prune {__version__}\n"
