"""What a Markdown page shows, runs: its Python and its commands, from top to bottom.

A fenced block of Python is run in the namespace of its page, unless its first line is a comment
with a file's name (``# my_model.py``): then that file is written. Of a block of shell the lines
that begin with ``recent-prune`` are run. A block of text behind either is what was printed. A page
that begins with ``<!-- continues: start_model -->`` goes on with what that page has defined.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from recent_prune.cli import app
from recent_prune.cli.console import UNTRAINABLE

FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
CONTINUES = re.compile(r"<!-- continues: (\w+) -->\n")
FILE = re.compile(r"# (\w+\.py)\n")
WIDTH = 80
"""Of the terminal that is shown."""


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        language: Behind the opening fence.
        text: Between the fences.
        shown: What the page says that it prints, or None.
    """

    language: str
    text: str
    shown: str | None

    @property
    def file(self) -> str | None:
        """The file that it is."""
        named = FILE.match(self.text)
        return named[1] if named and self.language == "python" else None

    @property
    def commands(self) -> list[list[str]]:
        """The arguments of each call of ``recent-prune``."""
        lines = self.text.replace("\\\n", " ").splitlines() if self.language == "sh" else []
        return [shlex.split(line)[1:] for line in lines if line.startswith("recent-prune ")]


@dataclass(frozen=True)
class Ran:
    """A block that was run.

    Attributes:
        block: Of Python or shell.
        printed: By it.
        names: Of the page's Python.
    """

    block: Block
    printed: str
    names: dict[str, object]


def whole(path: Path) -> str:
    """The text of a page, behind that of the page that it continues."""
    text = path.read_text(encoding="utf-8")
    earlier = CONTINUES.match(text)
    return text if earlier is None else whole(path.with_name(f"{earlier[1]}.md")) + text


def blocks(page: str) -> list[Block]:
    """All blocks of a page but those that were printed."""
    fenced = [*FENCED.findall(page), ("", "")]
    return [
        Block(language, text, then if then_language == "text" else None)
        for (language, text), (then_language, then) in pairwise(fenced)
        if language != "text"
    ]


def ran(page: str, folder: Path) -> Iterator[Ran]:
    """Run a page in a folder, block by block."""
    names: dict[str, object] = {"__name__": "__main__"}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        patch.setattr(sys, "path", [*sys.path])  # commands extend it
        patch.setenv("COLUMNS", str(WIDTH))
        for block in blocks(page):
            if block.file is not None:
                Path(block.file).write_text(block.text, encoding="utf-8")
                patch.delitem(sys.modules, Path(block.file).stem, raising=False)
            elif block.language == "python":
                with contextlib.redirect_stdout(io.StringIO()) as printed:
                    exec(compile(block.text, "<page>", "exec", dont_inherit=True), names)
                yield Ran(block, printed.getvalue(), names)
            else:
                told = "".join(_output(arguments) for arguments in block.commands)
                yield Ran(block, told, names)


def run_page(path: Path, folder: Path) -> dict[str, Any]:
    """Run a page, compare what it printed with what it shows, and return what it defines.

    Args:
        path: Of the page.
        folder: Where it is run.

    Raises:
        AssertionError: If something else is printed.
        ValueError: If it has no code.
    """
    names: dict[str, Any] | None = None
    for part in ran(whole(path), folder):
        if part.block.shown is not None:
            assert gist(part.printed) == gist(part.block.shown), part.block.text
            assert counted(part.printed) == pytest.approx(counted(part.block.shown), abs=4)
        names = part.names
    if names is None:
        raise ValueError(f"{path.name} has no code.")
    return names


def gist(text: str) -> str:
    """What stays from machine to machine: no digits, no bars, no line breaks."""
    text = re.sub(r"\d[\d.,]*(e[+-]?\d+)?", "#", text)
    text = re.sub(r"[█▉▊▋▌▍▎▏▐▕]", " ", text)
    return re.sub(r"([━─])\1*", r"\1", " ".join(text.split()))


def counted(text: str) -> list[int]:
    """Networks that will not train, of a map: nearly the same on all machines."""
    return [int(count) for count in re.findall(r"(\d+) of \d+ networks will", text)]


def _output(arguments: list[str]) -> str:
    run = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert run.exit_code in (0, UNTRAINABLE), run.output
    return run.stdout
