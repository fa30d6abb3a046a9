"""The command `recent-prune audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recent_prune.cli.console import console, errors_in_one_line, rich_table, writable


def audit(
    context: typer.Context,
    storage: Annotated[str, typer.Argument(help="Optuna storage, e.g. sqlite:///study.db.")],
    study: Annotated[str, typer.Argument(help="Name of the study.")],
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
    figure: Annotated[
        Path | None, typer.Option(help="Also write the bound over the trials, as HTML.")
    ] = None,
) -> None:
    """Print what rung zero was worth in a study, or what a certified rule threw away.

    For example: recent-prune audit sqlite:///study.db my-study
    """
    with errors_in_one_line(context.obj):
        from recent_prune.cli.studies import load_study
        from recent_prune.optuna import audit as audit_
        from recent_prune.report import plot_audit

        loaded = load_study(storage, study)
        found = audit_(loaded)
        if as_json:
            typer.echo(found.summary.to_json(orient="records", force_ascii=False))
        else:
            console.print(rich_table(found.summary.set_index("figure"), f"Audit of {study}"))
        if figure is not None:
            plot_audit(loaded).write_html(writable(figure, "--figure"))
