from __future__ import annotations

import pandas as pd
import pytest
import typer
from rich.console import Console

from recent_prune.cli.console import errors_in_one_line, rich_table, without_password


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
