"""The command `recent-prune`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

if TYPE_CHECKING:  # heavy, so only loaded by the command that needs them
    import pandas as pd
    from optuna.study import Study

    from recent_prune.data import Images

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="markdown")
console = Console()
errors = Console(stderr=True)


class Data(StrEnum):
    """Data sets of the demo."""

    DIGITS = "digits"
    MNIST = "mnist"


class Sampler(StrEnum):
    """Samplers of the demo."""

    RANDOM = "random"
    TPE = "tpe"


@app.callback()
def main(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    """Prune neural networks that cannot train, before they start to train."""
    context.obj = debug


@app.command()
def demo(
    context: typer.Context,
    data: Annotated[Data, typer.Option(help="What the networks learn.")] = Data.DIGITS,
    data_root: Annotated[
        Path | None,
        typer.Option(help="Folder that holds MNIST/raw.", envvar="RECENT_PRUNE_DATA"),
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Trials of the study.")] = 60,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of a full training.")] = 15,
    train_samples: Annotated[
        int, typer.Option(min=64, help="Training images at most (MNIST has 60,000).")
    ] = 4000,
    sampler: Annotated[
        Sampler, typer.Option(help="random covers the space, so the page is a map of it.")
    ] = Sampler.RANDOM,
    seed: Annotated[
        int, typer.Option(min=0, max=2**31, help="Of initializations, batches and sampler.")
    ] = 0,
    comparison: Annotated[
        bool,
        typer.Option(help="Also run the same trials without the pruner, to see what was saved."),
    ] = True,
    storage: Annotated[
        str, typer.Option(help="Optuna storage; an interrupted demo goes on from it.")
    ] = "sqlite:///recent_prune_demo.db",
    study_name: Annotated[
        str | None, typer.Option(help="Default: demo-DATA, and demo-DATA-without.")
    ] = None,
    page: Annotated[
        Path, typer.Option(help="Where the HTML page goes.", dir_okay=False, writable=True)
    ] = Path("recent_prune_demo.html"),
) -> None:
    """Run a real Optuna study that skips the networks that cannot train.

    Plain MLPs over depth, width, activation, variances of the initialization, learning rate and
    optimizer, on handwritten digits; then the same trials without the pruner.

    For example:

        recent-prune demo
        recent-prune demo --data mnist --data-root ~/data --no-comparison
    """
    import optuna

    from recent_prune import demo as demo_

    # Warnings would tell of trials that Ctrl-C ended, with a traceback each.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    name = study_name or f"demo-{data}"
    shown_storage = re.sub(r"://([^:/@]*):[^@/]*@", r"://\1:***@", storage)  # no password
    with _errors_in_one_line(
        context.obj, f"what ran is in {shown_storage}; the same command goes on"
    ):
        if not page.parent.is_dir():
            raise ValueError(f"--page must lie in a folder that exists, but got {page}")
        images = _images(data, data_root, train_samples)
        settings = demo_.Settings(str(data), len(images.train), epochs, str(sampler), seed)
        demo_.warm_up(images)
        with _progress() as progress:
            shown = _task(progress, "with recent_prune", trials)
            started = datetime.now()
            study = demo_.run_pruned(storage, name, settings, images, trials, shown)
            reference = None
            if comparison:
                shown = _task(progress, "without", trials)
                reference = demo_.run_reference(
                    storage, f"{name}-without", settings, images, study, shown
                )
        table = demo_.summary_table(study, reference)
        page.write_text(demo_.summary_page(study, reference, settings), encoding="utf-8")
    if all(trial.datetime_start and trial.datetime_start < started for trial in study.trials):
        console.print("All trials were there already; another --study-name starts anew.")
    console.print(_rich(table, f"{data}, {len(images.train)} training images"))
    console.print(
        f"Page: {page}   Study: {name} in {shown_storage}", highlight=False, soft_wrap=True
    )


@app.command()
def audit(
    context: typer.Context,
    storage: Annotated[str, typer.Argument(help="Optuna storage, e.g. sqlite:///study.db.")],
    study: Annotated[str, typer.Argument(help="Name of the study.")],
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
    figure: Annotated[
        Path | None, typer.Option(help="Also write the bound over the trials, as HTML.")
    ] = None,
) -> None:
    """Print what a certified rule threw away in a study, and how sure that is.

    For example: recent-prune audit sqlite:///study.db my-study
    """
    with _errors_in_one_line(context.obj, "nothing was changed"):
        import optuna

        from recent_prune.optuna import audit as audit_
        from recent_prune.report import plot_audit

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        loaded = optuna.load_study(study_name=study, storage=storage)
        found = audit_(loaded)
        if as_json:
            typer.echo(found.summary.to_json(orient="records", force_ascii=False))
        else:
            console.print(_rich(found.summary.set_index("figure"), f"Audit of {study}"))
        if figure is not None:
            plot_audit(loaded).write_html(figure)


@contextmanager
def _errors_in_one_line(debug: bool, interrupted: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        errors.print(f"Interrupted: {interrupted}.", highlight=False, soft_wrap=True)
        raise typer.Exit(130) from None
    except Exception as error:
        if debug:
            raise
        message = " ".join(str(error).split()) or type(error).__name__
        errors.print(f"[bold]Error:[/] {escape(message)}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None


def _images(data: Data, root: Path | None, train_samples: int) -> Images:
    from recent_prune import data as data_

    images = data_.load_digits() if data is Data.DIGITS else data_.load_mnist(root)
    return images.head(train_samples, len(images.test))


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[state]}"),
        TimeElapsedColumn(),
        console=console,
    )


def _task(progress: Progress, description: str, total: int) -> Callable[[Study], None]:
    from optuna.trial import TrialState

    task = progress.add_task(f"{description:17}", total=total, state="")

    def show(study: Study) -> None:
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        pruned = study.get_trials(deepcopy=False, states=(TrialState.PRUNED,))
        best = max((t.value for t in complete if t.value is not None), default=float("nan"))
        state = f"{len(pruned):3} pruned, best {best:.3f}"
        finished = len(complete) + len(pruned)
        progress.update(task, completed=finished, total=max(total, finished), state=state)

    return show


def _rich(table: pd.DataFrame, title: str) -> Table:
    shown = Table(title=title)
    shown.add_column("")
    for column in table.columns:
        shown.add_column(str(column), justify="right")
    for name, row in table.iterrows():
        shown.add_row(str(name), *map(str, row))
    return shown


if __name__ == "__main__":
    app()
