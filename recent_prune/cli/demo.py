"""The command `recent-prune demo`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from recent_prune.cli.console import (
    answer,
    console,
    errors_in_one_line,
    rich_table,
    without_password,
    writable,
)
from recent_prune.cli.options import JsonOption

if TYPE_CHECKING:  # heavy, so only loaded by the command that needs them
    from optuna.study import Study

    from recent_prune.data import Images


class Data(StrEnum):
    """Data sets of the demo."""

    DIGITS = "digits"
    MNIST = "mnist"


class Sampler(StrEnum):
    """Samplers of the demo."""

    RANDOM = "random"
    TPE = "tpe"


def demo(
    context: typer.Context,
    data: Annotated[Data, typer.Option(help="What the networks learn.")] = Data.DIGITS,
    data_root: Annotated[
        Path | None,
        typer.Option(help="Folder that holds MNIST/raw.", envvar="RECENT_PRUNE_DATA"),
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Trials of the study.")] = 30,
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
    as_json: JsonOption = False,
    page: Annotated[
        Path, typer.Option(help="Where the HTML page goes.", dir_okay=False, writable=True)
    ] = Path("recent_prune_demo.html"),
) -> None:
    """Run a real Optuna study that skips the trials that would lead nowhere.

    Plain MLPs over depth, width, activation, initialization, optimizer, learning rate and batch
    size, on handwritten digits; then the same trials without the pruner.

    For example:

        recent-prune demo
        recent-prune demo --data mnist --data-root ~/data --no-comparison
    """
    import optuna

    from recent_prune import demo as demo_

    # Warnings would tell of trials that Ctrl-C ended, with a traceback each.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    name = study_name or f"demo-{data}"
    shown_storage = without_password(storage)
    with errors_in_one_line(
        context.obj, f"what ran is in {shown_storage}; the same command goes on"
    ):
        writable(page, "--page")
        images = _images(data, data_root, train_samples)
        settings = demo_.Settings(str(data), len(images.train), epochs, str(sampler), seed)
        demo_.warm_up(images)
        with _progress(as_json) as progress:
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
    found = {
        "study": name,
        "storage": shown_storage,
        "page": str(page),
        "summary": table.to_dict(),
    }

    def tell() -> None:
        if all(trial.datetime_start and trial.datetime_start < started for trial in study.trials):
            console.print("All trials were there already; another --study-name starts anew.")
        console.print(rich_table(table, f"{data}, {len(images.train)} training images"))
        console.print(
            f"Page: {page}   Study: {name} in {shown_storage}", highlight=False, soft_wrap=True
        )

    answer(lambda: found, tell, as_json)


def _images(data: Data, root: Path | None, train_samples: int) -> Images:
    from recent_prune import data as data_

    images = data_.load_digits() if data is Data.DIGITS else data_.load_mnist(root)
    return images.head(train_samples, len(images.test))


def _progress(hidden: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[state]}"),
        TimeElapsedColumn(),
        console=console,
        disable=hidden,
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
