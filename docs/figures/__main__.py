"""Put all figures where they belong: ``python -m docs.figures``, or ``make figures``.

With ``--check`` nothing is written, and the exit status is 1 where a page and its result files
differ.
"""

from __future__ import annotations

from typing import Annotated

import typer

from docs.figures.registry import current
from docs.figures.results import ROOT


def main(
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing, tell what differs.")
    ] = False,
) -> None:
    """Write pages and pictures anew from the files of results."""
    stale = []
    for path, text in current():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(path)
            if not check:
                path.write_text(text, encoding="utf-8")
    for path in stale:
        typer.echo(f"{'differs' if check else 'written'}: {path.relative_to(ROOT)}")
    if check and stale:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
