"""The command `recent-prune preflight`."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.markup import escape
from rich.table import Table

from recent_prune.cli.console import UNTRAINABLE, answer, console, errors_in_one_line
from recent_prune.cli.options import (
    ArgOption,
    BatchSizeOption,
    CallOption,
    DataOption,
    FactoryArgument,
    JsonOption,
    LossOption,
    OptimizerArgOption,
    RootOption,
    SeedOption,
)

if TYPE_CHECKING:  # heavy, so only loaded where needed
    from recent_prune.preflight import Estimate, PreflightResult
    from recent_prune.rules import Verdict

UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12} | {
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}


def preflight(
    context: typer.Context,
    factory: FactoryArgument,
    data: DataOption,
    optimizer: Annotated[str, typer.Option(help="One of torch.optim, or module:name.")],
    arg: ArgOption = None,
    data_root: RootOption = None,
    optimizer_arg: OptimizerArgOption = None,
    loss: LossOption = None,
    call: CallOption = None,
    batch_size: BatchSizeOption = None,
    accumulate: Annotated[int, typer.Option(min=1, help="Batches a step.")] = 1,
    autocast: Annotated[
        str | None, typer.Option(help="Mixed precision: bfloat16 or float16.")
    ] = None,
    budget: Annotated[int | None, typer.Option(min=1, help="Steps of the full training.")] = None,
    device: Annotated[
        str, typer.Option(help="Where it will train, e.g. cuda; it need not be here.")
    ] = "cpu",
    memory: Annotated[
        str, typer.Option(help="What there is: 24GiB, 80GB, bytes, or device: what is free here.")
    ] = "device",
    seconds: Annotated[
        float | None, typer.Option(help="For the full training; needs --budget and --time.")
    ] = None,
    time: Annotated[
        bool, typer.Option("--time", help="Also make first steps, here, to see how long one takes.")
    ] = False,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Will this fit? Estimate a training step before anything is allocated.

    Exit status: 0 if it fits or that is unsure, 3 if it surely does not (or is too slow), 1 after
    an error, 2 after a wrong option.

    For example:

        recent-prune preflight torchvision.models:resnet50 --data folder_of_images
        --optimizer adam --batch-size 128 --device cuda --memory 24GiB
    """
    if seconds is not None and not (time and budget):
        raise typer.BadParameter("--seconds needs --budget and --time", param_hint="--seconds")
    with errors_in_one_line(context.obj):
        import recent_prune as rp
        from recent_prune.cli.data import inputs
        from recent_prune.cli.factory import arguments, built, named
        from recent_prune.cli.training import training

        limits = rp.Limits(_bytes(memory), seconds)
        plain = training(
            optimizer,
            loss=loss,
            settings=optimizer_arg or (),
            batch_size=batch_size,
            budget=budget,
            call=call,
        )
        trained = replace(plain, accumulate=accumulate, autocast=_dtype(autocast))
        make = partial(built, named(factory, "FACTORY"), arguments(arg or []), seed)
        batches = inputs(data, data_root, labels=True)
        result = rp.preflight(make, batches, trained, device=device, seed=seed)
        if time:
            result = result.refined(rp.probe(make(), batches, training=trained, seed=seed))
        rule = rp.PreflightRule.within(limits, limits.room(device))
        verdict = rule(result)
        known = {**result.to_dict(), "training_seconds": _plain(result.training_seconds)}
        answer(
            lambda: {"verdict": asdict(verdict), "result": known},
            lambda: _tell(result, verdict),
            as_json,
        )
        if not verdict.trainable:
            raise typer.Exit(UNTRAINABLE)


def _plain(estimate: Estimate | None) -> dict[str, float] | None:
    return None if estimate is None else asdict(estimate)


def _bytes(text: str) -> float | Literal["device"]:
    if text == "device":
        return "device"
    found = re.fullmatch(r"([\d.]+(?:[eE]\+?\d+)?)\s*([KMGT]I?B|)", text.strip(), re.IGNORECASE)
    try:
        assert found is not None
        return float(found[1]) * UNITS[found[2].upper()]
    except (AssertionError, ValueError) as error:
        raise ValueError(
            f"--memory must be such as 24GiB, 80GB, a number of bytes, or device, but got {text}"
        ) from error


def _dtype(text: str | None) -> Any:
    import torch

    known = {None: None, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if text not in known:
        raise ValueError(f"--autocast must be bfloat16 or float16, but got {text}")
    return known[text]


def _tell(result: PreflightResult, verdict: Verdict) -> None:
    from recent_prune.rules.preflight import size

    heads = {None: "Not condemned", "too_large": "Too large", "too_slow": "Too slow"}
    lines = [f"[bold]{heads[verdict.cause]}.[/] {escape(verdict.reason)}"]
    if verdict.advice is not None:
        lines.append(f"[bold]Advice:[/] {escape(verdict.advice)}")
    low, high = size(result.memory.low), size(result.memory.high)
    lines.append(f"Between {low} and {high}, {result.method}, in {result.seconds:.2g} s.")
    lines.append(f"{result.operations:.3g} floating-point operations a step.")
    if result.step_seconds is not None:
        lines.append(f"{result.step_seconds.value:.3g} s a step here.")
    if result.training_seconds is not None:
        took = result.training_seconds
        lines.append(f"{took.value:.3g} s in all ({took.low:.3g} to {took.high:.3g}).")
    for line in lines:
        console.print(line, highlight=False)
    table = Table(title=f"Peak at batch {result.batch_size}", title_justify="left")
    table.add_column("of which")
    table.add_column("", justify="right")
    for name, count in result.parts.items():
        table.add_row(name, size(count))
    console.print(table)
    for note in result.notes:
        console.print(note, highlight=False, markup=False)
