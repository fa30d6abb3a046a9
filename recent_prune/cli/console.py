"""What all commands share: how they print, and how they fail."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    import pandas as pd

console = Console()
errors = Console(stderr=True)


@contextmanager
def errors_in_one_line(debug: bool, interrupted: str = "nothing was changed") -> Iterator[None]:
    """Exit with 1 and one line on an error, with 130 on Ctrl-C.

    Args:
        debug: Show the traceback instead.
        interrupted: What to know after Ctrl-C.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise _interruption(interrupted) from None
    except typer.Exit:
        raise
    except Exception as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            # Optuna 5 raises an error of its own over a Ctrl-C while it tells a trial's value.
            raise _interruption(interrupted) from None
        if debug:
            raise
        told = str(error) or type(error).__name__
        message = " ".join(" ".join([told, *getattr(error, "__notes__", [])]).split())
        errors.print(f"[bold]Error:[/] {escape(message)}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None


def _interruption(interrupted: str) -> typer.Exit:
    errors.print(f"Interrupted: {interrupted}.", highlight=False, soft_wrap=True)
    return typer.Exit(130)


def rich_table(table: pd.DataFrame, title: str) -> Table:
    """A table with its index."""
    shown = Table(title=escape(title))
    shown.add_column("")
    for column in table.columns:
        shown.add_column(escape(str(column)), justify="right")
    for name, row in table.iterrows():
        shown.add_row(escape(str(name)), *(escape(str(value)) for value in row))
    return shown


def without_password(storage: str) -> str:
    """A storage as it may be shown."""
    # A password may hold slashes; what follows the last @ before the query is the host.
    hidden = re.sub(r"://([^:/@?]*):[^?]*@", r"://\1:***@", storage)
    return re.sub(r"((?:[?&]|^)password=)[^&]*", r"\1***", hidden)


def writable(path: Path, option: str) -> Path:
    """The path of a file to be written.

    Raises:
        ValueError: If its folder does not exist.
    """
    if not path.parent.is_dir():
        raise ValueError(f"{option} must lie in a folder that exists, but got {path}")
    return path
