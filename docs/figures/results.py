"""Where figures come from: files of results, and who measured them when."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parent.parent.parent
NUMERIC = frozenset("0123456789.,%[]()–-−+± sof")
"""Characters of a cell that is set to the right."""


@dataclass(frozen=True)
class Source:
    """How to get a table again.

    Attributes:
        command: That measured it.
        machine: On which, with versions, from the environment that was saved beside the results,
            where one was.
        date: Of the results, as they were committed: year, month, day.
    """

    command: str
    machine: str
    date: str

    def __str__(self) -> str:
        """In a line below the table."""
        return f"`{self.command}`; {self.machine}; {self.date}."


def environment(path: str) -> str:
    """A saved environment, in a line."""
    known = json.loads((ROOT / path).read_text(encoding="utf-8"))
    threads = f"{known['threads']} thread{'' if known['threads'] == 1 else 's'}"
    return f"{known['machine']}, {threads}, Python {known['python']}, torch {known['torch']}"


def kept(command: str, path: str) -> Source:
    """With machine and day from an environment that was saved beside the results."""
    day = json.loads((ROOT / path).read_text(encoding="utf-8"))["date"]
    return Source(f"python -m {command}", environment(path), str(day))


def line(path: str, word: str) -> str:
    """The part of a page's first line with a word that begins with it, without its last stop."""
    for text in (ROOT / path).read_text(encoding="utf-8").splitlines():
        if word in text:
            return text[text.index(word) :].rstrip(".")
    raise ValueError(f"{path} has no line with {word!r}")


def tables(path: str) -> list[pd.DataFrame]:
    """The Markdown tables that a benchmark wrote, in order; all cells are texts."""
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    found = []
    for is_table, rows in groupby(lines, lambda text: text.startswith("|")):
        if is_table:
            head, _, *body = ([c.strip() for c in row.strip("|").split(" | ")] for row in rows)
            found.append(pd.DataFrame([[c.strip() for c in row] for row in body], columns=head))
    return found


def table(path: str, *columns: str) -> pd.DataFrame:
    """The first of them that has these columns, with the first column as its index.

    Raises:
        ValueError: If none has.
    """
    for found in tables(path):
        if set(columns) <= set(found.columns):
            return found.set_index(found.columns[0])
    raise ValueError(f"{path} has no table with the columns {columns}")


def first(cell: str) -> str:
    """A figure without its interval."""
    return cell.split(" ")[0]


def markdown(rows: Iterable[Mapping[str, str]], source: Source | None = None) -> str:
    """A table, its columns padded and its numbers to the right, with a line on its source."""
    lines = [dict(row) for row in rows]
    heads = list(lines[0])
    cells = [heads, *([row[h] for h in heads] for row in lines)]
    widths = [max(3, *(len(row[i]) for row in cells)) for i in range(len(heads))]
    right = [i > 0 and _numeric(row[i] for row in cells[1:]) for i in range(len(heads))]
    rule = [f"{'-' * (w - 1)}{':' if r else '-'}" for w, r in zip(widths, right, strict=True)]
    written = [
        f"| {' | '.join(_padded(c, w, r) for c, w, r in zip(row, widths, right, strict=True))} |"
        for row in (cells[0], rule, *cells[1:])
    ]
    return "\n".join(written if source is None else [*written, "", str(source)])


def _numeric(column: Iterable[str]) -> bool:
    return all(set(cell.replace("*", "")) <= NUMERIC for cell in column)


def _padded(cell: str, width: int, right: bool) -> str:
    return cell.rjust(width) if right else cell.ljust(width)
