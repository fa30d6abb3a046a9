"""What all commands share: how they print, and how they fail."""

from __future__ import annotations

import json
import logging
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    import pandas as pd

console = Console()
errors = Console(stderr=True)
UNTRAINABLE = 3
"""Exit status for a network that cannot train, or will not fit."""


def print_what_can_be() -> None:
    """Standard output shows "?" for a sign that its encoding lacks, and the command goes on."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def answer(
    known: Callable[[], str | Mapping[str, Any]], tell: Callable[[], None], json_: bool
) -> None:
    """Print what a command found: for scripts, or for a person.

    Args:
        known: Gives JSON, or what becomes JSON; its keys stay.
        tell: Prints it for a person.
        json_: Whether JSON is wanted.
    """
    if not json_:
        tell()
        return
    found = known()
    plain = found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
    try:
        plain.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # escaped, nothing of it is lost
        plain = json.dumps(json.loads(plain))
    typer.echo(plain)


@contextmanager
def errors_in_one_line(debug: bool, interrupted: str = "nothing was changed") -> Iterator[None]:
    """Exit with 1 and one line on an error, with 130 on Ctrl-C; warnings take a line as well.

    Args:
        debug: Show the traceback instead.
        interrupted: What to know after Ctrl-C.
    """
    with warnings.catch_warnings():
        warnings.showwarning = _warned
        try:
            yield
        except KeyboardInterrupt:
            raise _interruption(interrupted) from None
        except (typer.Exit, typer.BadParameter):
            raise
        except Exception as error:
            if isinstance(error.__context__, KeyboardInterrupt):
                # Optuna 5 raises an error of its own over a Ctrl-C while it tells a trial's value.
                raise _interruption(interrupted) from None
            if debug:
                raise
            _say("Error", _one_line(error))
            raise typer.Exit(1) from None


def _one_line(error: Exception) -> str:
    notes: list[str] = getattr(error, "__notes__", [])
    told = str(error) or type(error).__name__
    for note in notes:
        told = f"{told}{'' if told.rstrip().endswith(('.', ':', '!', '?')) else '.'} {note}"
    if not isinstance(error, (ValueError, TypeError, OSError, ImportError)):
        # Not one of those that say what to do.
        told += f" ({type(error).__name__}; recent-prune --debug COMMAND … shows where)"
    return " ".join(told.split())


def _warned(message: Warning | str, *_: object, **__: object) -> None:
    _say("Warning", " ".join(str(message).split()))


def _say(kind: str, text: str) -> None:
    errors.print(f"[bold]{kind}:[/] {escape(text)}", highlight=False, soft_wrap=True)


def logs_shown(context: typer.Context) -> None:
    """Show on standard error what the package logs, until the command ends."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("recent_prune")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)

    def undo() -> None:
        logger.removeHandler(handler)
        logger.setLevel(before)

    context.call_on_close(undo)


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


# A password may hold any sign; what follows the last @ before the query is the host.
_OF_USER = re.compile(r"(?<=://)([^:/@?]*:)([^@]*(?:@[^?@]*)*)(?=@)")
_IN_QUERY = re.compile(r"((?:[?&]|^)[^=&]*(?:pass|pwd|secret|token|key)[^=&]*=)([^&]+)", re.I)


def without_password(storage: str, text: str | None = None) -> str:
    """A storage as it may be shown, or a text about it, in which some of a secret may stand."""
    if text is None:
        return _IN_QUERY.sub(r"\1***", _OF_USER.sub(r"\1***", storage))
    secrets = [found for pattern in (_OF_USER, _IN_QUERY) for _, found in pattern.findall(storage)]
    # A driver that takes a secret apart at its signs tells a part of it.
    parts = [part for found in secrets for part in re.split(r"[@/:#?]", found) if len(part) > 3]
    for secret in sorted({*secrets, *map(unquote, secrets), *parts} - {""}, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def writable(path: Path, option: str) -> Path:
    """The path of a file to be written.

    Raises:
        ValueError: If its folder does not exist.
    """
    if not path.parent.is_dir():
        raise ValueError(f"{option} must lie in a folder that exists, but got {path}")
    return path
