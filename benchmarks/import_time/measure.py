"""How long ``import recent_prune`` takes, in units of ``import torch``.

    python -m benchmarks.import_time.measure   # a few minutes

Protocol: rounds of fresh processes, one after the other, each of which imports one thing and ends:
PyTorch, then each package. What counts is processor time, user and system, of the whole
process, since wall-clock time also measures how busy the machine is; the ratio is within a round,
and its median, least and greatest over the rounds are given. A round before that is thrown away,
so that all files are in the system's cache and compiled.

Writes ``results.md`` and ``environment.json``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Annotated

import pandas as pd
import typer

from benchmarks.environment import save_environment
from benchmarks.tables import markdown

FOLDER = Path(__file__).parent
BESIDE = "torch"
ASKED = ("recent_prune", "recent_prune.optuna", "recent_prune.report", "recent_prune.testing")
WARM_UP = 1


def seconds(module: str) -> float:
    """Processor time of a fresh process that imports it."""
    before = os.times()
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
    after = os.times()
    return sum(after[2:4]) - sum(before[2:4])  # of children, user and system


def table(rounds: list[dict[str, float]]) -> pd.DataFrame:
    """A line a module, from its seconds in each round."""
    rows = []
    for module in rounds[0]:
        ratios = [times[module] / times[BESIDE] for times in rounds]
        row = {
            "import": f"`{module}`",
            "seconds": f"{median(times[module] for times in rounds):.2f}",
            "times torch": f"{median(ratios):.2f}",
            "least to greatest": f"{min(ratios):.2f} to {max(ratios):.2f}",
        }
        rows.append(row)
    return pd.DataFrame(rows)


def main(rounds: Annotated[int, typer.Option(min=1, help="That count.")] = 10) -> None:
    """Measure, print and write the table."""
    every = [{m: seconds(m) for m in (BESIDE, *ASKED)} for _ in range(WARM_UP + rounds)]
    text = markdown(table(every[WARM_UP:]))
    print(text)
    (FOLDER / "results.md").write_text(f"{text}\n", encoding="utf-8")
    save_environment(FOLDER / "environment.json")


if __name__ == "__main__":
    typer.run(main)
