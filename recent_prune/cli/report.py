"""The command `recent-prune report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recent_prune.cli.console import console, errors_in_one_line, rich_table, writable


def report(
    context: typer.Context,
    storage: Annotated[str, typer.Argument(help="Optuna storage, e.g. sqlite:///study.db.")],
    study: Annotated[str, typer.Argument(help="Name of the study.")],
    page: Annotated[Path, typer.Option(help="Where the HTML page goes.", dir_okay=False)] = Path(
        "recent_prune_report.html"
    ),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summary, for scripts; no page.")
    ] = False,
) -> None:
    """What was pruned in a study, why, and what it saved: a page that works offline.

    For example: recent-prune report sqlite:///study.db my-study
    """
    with errors_in_one_line(context.obj):
        from recent_prune.cli.studies import load_study
        from recent_prune.report import StudyReport

        found = StudyReport.of(load_study(storage, study))
        if as_json:
            typer.echo(found.to_json())
            return
        writable(page, "--page").write_text(found.page(), encoding="utf-8")
        console.print(rich_table(found.summary, study))
        for warning in found.warnings:
            console.print(f"[bold]Note:[/] {warning}", highlight=False)
        console.print(f"Page: {page}", highlight=False, soft_wrap=True)
