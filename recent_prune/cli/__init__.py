"""The command `recent-prune`."""

from typing import Annotated

import typer

from recent_prune import __version__
from recent_prune.cli.audit import audit
from recent_prune.cli.console import logs_shown, print_what_can_be
from recent_prune.cli.demo import demo
from recent_prune.cli.info import info
from recent_prune.cli.map import map_
from recent_prune.cli.preflight import preflight
from recent_prune.cli.probe import probe
from recent_prune.cli.report import report

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="markdown")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"recent_prune {__version__}")
        raise typer.Exit


@app.callback()
def main(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say what is done.")] = False,
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="And no more.")
    ] = False,
) -> None:
    """Prune neural networks that cannot train, before they start to train."""
    context.obj = debug
    print_what_can_be()
    if verbose:
        logs_shown(context)


app.command()(probe)
app.command()(preflight)
app.command("map")(map_)
app.command()(report)
app.command()(audit)
app.command()(demo)
app.command()(info)
