"""Faults, counted: one command for all parts, `--only` for one of them.

Each part takes a seed and seconds, breaks things at random as the seed has it, and counts what was
lost, done twice or not put back:

- `ray_sweeps`: Tune on a cluster of several nodes; actors, nodes and the driver are killed;
- `storages`: eight processes on one study, killed with SIGKILL and started again, on PostgreSQL,
  SQLite and a journal file, which are locked, full and out of reach for a while;
- `models`: random modules, data, losses and optimizers that raise, return NaN or are interrupted;
- `long_runs`: memory, time and storage of a trial after ten thousand others.

A part writes `PART.csv` and `PART_environment.json`; the table `results.md` is made of what is
there. Where time is up before a part's number of cases is reached, it says how many there were.
"""

from __future__ import annotations

import importlib
import json
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.environment import save_environment
from benchmarks.faults.counted import Counted, as_markdown, save

FOLDER = Path(__file__).parent


class Part(StrEnum):
    """What can be measured by itself; each is a module with a function `measure`."""

    RAY_SWEEPS = "ray_sweeps"
    STORAGES = "storages"
    MODELS = "models"
    LONG_RUNS = "long_runs"


def measured(part: Part, seed: int, until: float) -> list[Counted]:
    """One part's figures; `until` is a `time.monotonic`."""
    rows: list[Counted] = importlib.import_module(f"benchmarks.faults.{part}").measure(seed, until)
    return rows


def report(folder: Path) -> str:
    """The table of all parts that have been measured."""
    parts = []
    for part in Part:
        if (folder / f"{part}.csv").exists():
            where = json.loads((folder / f"{part}_environment.json").read_text(encoding="utf-8"))
            told = ", ".join(f"{name} {value}" for name, value in where.items())
            parts.append(
                f"## {part.replace('_', ' ')}\n\n{as_markdown(folder / f'{part}.csv')}\n\n"
                f"`python -m benchmarks.faults.measure --only {part}`; {told}.\n"
            )
    return "# Faults\n\n" + "\n".join(parts)


def main(
    only: Annotated[Part | None, typer.Option(help="One part.")] = None,
    seed: Annotated[int, typer.Option(help="What is broken, and when.")] = 0,
    minutes: Annotated[float, typer.Option(help="For each part; what is not done is told.")] = 60.0,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = FOLDER,
) -> None:
    """Break things and count."""
    for part in Part if only is None else [only]:
        save(measured(part, seed, time.monotonic() + minutes * 60), out / f"{part}.csv")
        save_environment(out / f"{part}_environment.json")
    text = report(out)
    (out / "results.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    typer.run(main)
