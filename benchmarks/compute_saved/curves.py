"""The best value over the cost: how soon does each method find what it finds?

    python -m benchmarks.compute_saved.curves   # a minute

Random search, the seeds of `measure`; the median over seeds of the best last accuracy so far, as
what is still missed of the best of the table.
Writes ``curves_SPACE.png``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import optuna
import plotly.graph_objects as go
import typer
from rich.progress import track

from benchmarks.compute_saved.measure import FEWER_TRIALS, FOLDER, PLAIN, SEEDS, TRIALS, table
from benchmarks.compute_saved.methods import METHODS, ONE_EPOCH, with_ours
from benchmarks.compute_saved.optuna_replay import Ran
from benchmarks.compute_saved.outcome import costs, values
from benchmarks.compute_saved.spaces import SPACES
from benchmarks.compute_saved.table import Array, Trained

SHARES = np.geomspace(0.005, 1, 60)
"""Of the cost of a study without pruning, at which the best value is read."""
LEAST = 1e-3
"""Where the best of the table has been found, since the axis is logarithmic."""
SHOWN = ("none", "SuccessiveHalving", "Hyperband", ONE_EPOCH)
COLOURS = ("#555", "#0072b2", "#d55e00", "#009e73")  # Okabe and Ito


def best_so_far(trained: Trained, ran: Sequence[Ran], at: Array) -> Array:
    """The best value among the trials that have ended at some costs, NaN before the first."""
    ended = costs(trained, ran, "flops").cumsum()
    best = np.maximum.accumulate(values(trained, ran))
    best[best == 0] = np.nan  # nothing has been trained yet
    count = np.searchsorted(ended, at, side="right")
    return np.asarray(np.where(count > 0, best[np.maximum(count - 1, 0)], np.nan))


def figure(trained: Trained, trials: int, seeds: int) -> go.Figure:
    """Solid with ours in front of a method, dashed without."""
    shown = go.Figure()
    bases = []
    for seed in range(seeds):
        whole = METHODS["none"](trained, "random", seed, trials)
        bases.append(costs(trained, whole, "flops").sum())
    for method, colour in zip(SHOWN, COLOURS, strict=True):
        for name, dash in ((method, "dash"), (with_ours(method), "solid")):
            found = np.stack(
                [
                    best_so_far(
                        trained, METHODS[name](trained, "random", seed, trials), SHARES * base
                    )
                    for seed, base in enumerate(bases)
                ]
            )
            known = np.isfinite(found).mean(axis=0) > 0.5
            middle = np.median(np.nan_to_num(found), axis=0)
            shown.add_scatter(
                x=SHARES[known],
                y=np.maximum(trained.final.max() - middle[known], LEAST),
                mode="lines",
                name=name,
                line={"color": colour, "dash": dash, "shape": "hv"},
            )
    return shown.update_layout(
        title=f"{trained.name}, random search: what is still missed over the cost (median)",
        xaxis={"title": "cost so far, of that without pruning (operations)", "type": "log"},
        yaxis={"title": "best accuracy of the table minus best so far", "type": "log"},
        template="plotly_white",
    )


def main(
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each method.")] = SEEDS,
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = FOLDER,
) -> None:
    """Draw a picture of each space."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for name in track((*SPACES, PLAIN), description="curves"):
        drawn = figure(table(name), TRIALS.get(name, FEWER_TRIALS), seeds)
        path = out / f"curves_{name.replace(', ', '_')}.png"
        drawn.write_image(path, width=900, height=520)


if __name__ == "__main__":
    typer.run(main)
