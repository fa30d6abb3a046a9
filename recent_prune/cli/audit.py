"""The command `recent-prune audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recent_prune.cli.console import answer, console, errors_in_one_line, rich_table, writable
from recent_prune.cli.options import JsonOption, StorageArgument, StudyArgument


def audit(
    context: typer.Context,
    storage: StorageArgument,
    study: StudyArgument = None,
    figure: Annotated[
        Path | None, typer.Option(help="Also write the bound over the trials, as HTML.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print what rung zero was worth in a study, or what a certified rule threw away.

    For example: recent-prune audit sqlite:///study.db my-study
    """
    with errors_in_one_line(context.obj):
        from optuna import Study

        from recent_prune.cli.studies import load
        from recent_prune.report import plot_audit

        name, loaded = load(storage, study)
        if isinstance(loaded, Study):
            from recent_prune.optuna import audit as of_study

            found = of_study(loaded)
        else:
            from recent_prune.ray import audit as of_run

            found = of_run(loaded)
        table = found.summary
        answer(
            lambda: table.to_json(orient="records", force_ascii=False),
            lambda: console.print(rich_table(table.set_index("figure"), f"Audit of {name}")),
            as_json,
        )
        if figure is not None:
            plot_audit(found).write_html(writable(figure, "--figure"))
