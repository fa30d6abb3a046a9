"""The command `recent-prune report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from recent_prune.cli.console import answer, console, errors_in_one_line, rich_table, writable
from recent_prune.cli.options import JsonOption, StorageArgument, StudyArgument


def report(
    context: typer.Context,
    storage: StorageArgument,
    study: StudyArgument = None,
    page: Annotated[Path, typer.Option(help="Where the HTML page goes.", dir_okay=False)] = Path(
        "recent_prune_report.html"
    ),
    metric: Annotated[
        str | None, typer.Option(help="Of a Tune run: what its trials report, as their value.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """What was pruned in a study, why, and what it saved: a page that works offline.

    With --json the summary, and no page. For example:

        recent-prune report sqlite:///study.db my-study

        recent-prune report ~/ray_results/my-run --metric accuracy
    """
    with errors_in_one_line(context.obj):
        from recent_prune.cli.studies import load
        from recent_prune.report import StudyReport

        name, loaded = load(storage, study, metric)
        found = StudyReport.of(loaded, title=name)

        def tell() -> None:
            writable(page, "--page").write_text(found.page(), encoding="utf-8")
            console.print(rich_table(found.summary, name))
            for warning in found.warnings:
                console.print("[bold]Note:[/]", escape(warning), highlight=False)
            console.print(f"Page: {page}", highlight=False, markup=False, soft_wrap=True)

        answer(found.to_json, tell, as_json)
