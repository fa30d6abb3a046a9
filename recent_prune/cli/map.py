"""The command `recent-prune map`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recent_prune.cli.console import answer, console, errors_in_one_line, writable
from recent_prune.cli.options import (
    ArgOption,
    CallOption,
    DataOption,
    DeviceOption,
    FactoryArgument,
    JsonOption,
    RootOption,
    RuleOption,
    SeedOption,
)

if TYPE_CHECKING:
    import pandas as pd

FORM = "NAME=LOW:HIGH[:STEPS][:log|:linear]"


def map_(
    context: typer.Context,
    factory: FactoryArgument,
    x: Annotated[str, typer.Option(help=f"Argument from left to right: {FORM}.")],
    y: Annotated[str, typer.Option(help="Argument from bottom to top, likewise.")],
    data: DataOption,
    arg: ArgOption = None,
    data_root: RootOption = None,
    call: CallOption = None,
    rule: RuleOption = "trainability",
    device: DeviceOption = "cpu",
    seed: SeedOption = 0,
    html: Annotated[Path, typer.Option(help="Where the map goes.", dir_okay=False)] = Path(
        "recent_prune_map.html"
    ),
    png: Annotated[
        Path | None, typer.Option(help="Also as a picture (needs kaleido and a Chromium).")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Where does it train? Probe a model over two of its arguments and draw the map.

    16 steps each unless it says otherwise; whole numbers if both ends are; logarithmic from a
    ratio of 20 on.

    For example:

        recent-prune map my_model.py:build --x gain=0.5:4 --y depth=2:100 --data digits
    """
    with errors_in_one_line(context.obj):
        from recent_prune.cli.data import inputs
        from recent_prune.cli.factory import arguments, axis, named
        from recent_prune.cli.rules import rule_named
        from recent_prune.report import plot_trainability_map
        from recent_prune.trainability_map import trainability_map

        across, up = axis(x, "--x"), axis(y, "--y")
        writable(html, "--html")
        if png is not None:
            writable(png, "--png")
        table = trainability_map(
            named(factory, "FACTORY"),
            across,
            up,
            inputs(data, data_root),
            arguments=arguments(arg or []),
            call=None if call is None else named(call, "--call"),
            rule=rule_named(rule),
            device=device,
            seed=seed,
            progress=False if as_json else None,
        )
        if table["error"].notna().all():
            raise ValueError(f"no network could be probed; the first: {table['error'].iloc[0]}")
        figure = plot_trainability_map(table)
        figure.write_html(html)
        if png is not None:
            figure.write_image(png, width=900, height=640)
        paths = ", ".join(str(path) for path in (html, png) if path is not None)

        def tell() -> None:
            console.print(_told(table), highlight=False, markup=False)
            console.print(f"Map: {paths}", highlight=False, markup=False, soft_wrap=True)

        answer(lambda: table.to_json(orient="records", force_ascii=False), tell, as_json)


def _told(table: pd.DataFrame) -> str:
    failed = table["error"].notna()
    condemned = int((table.loc[~failed, "trainable"] == False).sum())  # noqa: E712
    text = f"{condemned} of {(~failed).sum()} networks will not train"
    text += f"; {table['seconds'].sum():.3g} s of probes."
    if failed.any():
        text += f" {failed.sum()} could not be probed; the first: {table['error'][failed].iloc[0]}"
    return text
