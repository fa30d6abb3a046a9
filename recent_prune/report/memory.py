"""What a training step of each trial was estimated to take, and what there was."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd
import plotly.graph_objects as go
from optuna.study import Study

from recent_prune.report.figures import BELOW, KEPT, PRUNED
from recent_prune.report.trials import trials_table
from recent_prune.rules.preflight import size

if TYPE_CHECKING:  # an extra
    from recent_prune.ray.experiments import TuneRun

MIB = 2**20
RAN_OUT = "#000000"


def plot_memory(study: Study | TuneRun) -> go.Figure:
    """Estimated memory of a training step over the trials' numbers, and the limit as a line.

    Args:
        study: Whose objective called ``probe_trial(…, preflight=…)``, or a run of Tune whose
            scheduler had ``preflight=``.

    Returns:
        Discs for trials that were kept, crosses for those that were too large, and stars for those
        that ran out of memory all the same, in MiB on a logarithmic axis.
    """
    return _drawn(trials_table(study))


def _drawn(table: pd.DataFrame) -> go.Figure:
    known = table[table["memory"].notna()]
    large = known["cause"] == "too_large"
    out = known["out_of_memory"] == True  # noqa: E712
    figure = go.Figure()
    for name, mask, symbol, colour in (
        ("fits", ~large & ~out, "circle", KEPT),
        ("too large", large, "x", PRUNED),
        ("ran out of memory", out, "star", RAN_OUT),
    ):
        trials = known[mask]
        figure.add_scatter(
            x=trials["number"],
            y=trials["memory"].astype(float) / MIB,
            mode="markers",
            name=f"{name} ({len(trials)})",
            marker={"symbol": symbol, "size": 10, "color": colour},
            text=[_told(trial) for trial in trials.to_dict("records")],
            hovertemplate="%{text}<extra></extra>",
        )
    limits = known.dropna(subset=["memory_limit"])
    if len(limits):
        figure.add_scatter(
            x=limits["number"],
            y=limits["memory_limit"].astype(float) / MIB,
            mode="lines",
            name="there is",
            line={"color": "#555", "dash": "dash", "shape": "hv"},
            hoverinfo="skip",
        )
    return figure.update_layout(
        title="Memory of a training step",
        xaxis_title="trial",
        # Of a decade 1, 2 and 5: all digits would run into each other.
        yaxis={"title": "estimated (MiB)", "type": "log", "dtick": "D2"},
        legend=BELOW,
    )


def memory_figures(table: pd.DataFrame) -> list[tuple[go.Figure, str]]:
    """The figure and its caption, none where no preflight was made.

    Args:
        table: Of :func:`trials_table`.
    """
    if not table["memory"].notna().any():
        return []
    caption = "Of a training step without values; the lower end of each estimate condemns."
    return [(_drawn(table), caption)]


def ran_out(table: pd.DataFrame) -> int:
    """How many trials ran out of memory."""
    return int((table["out_of_memory"] == True).sum())  # noqa: E712


def memory_lines(table: pd.DataFrame) -> dict[str, str]:
    """Lines of a summary, none where no preflight was made.

    Args:
        table: Of :func:`trials_table`.
    """
    known = table["memory"].dropna().astype(float)
    out = ran_out(table)
    lines = {"ran out of memory all the same": f"{out}"} if out or len(known) else {}
    if len(known):
        lines["memory of a training step, estimated"] = (
            f"{size(known.min())} to {size(known.max())}"
        )
    return lines


def _told(trial: Mapping[Hashable, Any]) -> str:
    told = f"trial {trial['number']}: about {size(trial['memory'])}"
    advice = trial["advice"]
    return told + (f"<br>{escape(advice)}" if isinstance(advice, str) else "")
