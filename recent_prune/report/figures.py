"""Figures of a study, after the conventions of `optuna.visualization`.

All are readable without colour: pruned trials are dashed lines or crosses, kept ones solid lines
or discs.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Hashable, Iterable, Mapping, Sequence
from html import escape
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import pandas as pd
import plotly.graph_objects as go
from optuna.study import Study
from plotly.subplots import make_subplots

from recent_prune.report.trials import PARAMETER, losses, trials_table

if TYPE_CHECKING:  # an extra
    from recent_prune.ray.experiments import TuneRun

BELOW = {"orientation": "h", "y": -0.2, "yanchor": "top"}  # beside, it crowds narrow screens
LOW = {**BELOW, "y": -0.13}
"""Below a figure that is higher than others."""
MOST_LINES = 100
"""Profiles of either kind that are drawn: of more, every second, third, …"""
LONGEST = 40
"""Letters of a name at an axis; a longer one would fill it."""
KEPT, PRUNED = "#0072b2", "#d55e00"  # told apart by colour-blind readers too (Okabe and Ito)


def plot_entropy_profile(study: Study | TuneRun) -> go.Figure:
    """Relative entropy and retained share of variance over depth, a line a probed trial.

    Args:
        study: A study whose objective called ``probe_trial``. (A Tune run keeps no profiles.)

    Returns:
        Two panels, one above the other, over the share of the depth, (0, 1]: relative entropy in
        nats, and retained share. An empty figure, with a warning, if no trial was probed.
    """
    # Beside each other their titles would run into each other on a narrow screen.
    figure = make_subplots(
        rows=2,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.12,
        subplot_titles=("Relative entropy", "Retained information"),
    )
    probed = _probed(trials_table(study))
    probed = probed[probed["profile"].notna()]
    for trainable, name, colour, dash in (
        (True, "kept", KEPT, "solid"),
        (False, "pruned", PRUNED, "dash"),
    ):
        trials = probed[probed["trainable"] == trainable]
        count = len(trials)
        trials = trials.iloc[:: max(1, -(-count // MOST_LINES))]
        for row, field in enumerate(("relative_entropy", "retained"), start=1):
            x, y, text = _lines(trials, field)
            figure.add_scatter(
                x=x,
                y=y,
                text=text,
                mode="lines",
                name=f"{name} ({count})"
                if count == len(trials)
                else f"{len(trials)} of {count} {name}",
                legendgroup=name,
                showlegend=row == 1 and len(trials) > 0,
                line={"color": colour, "dash": dash, "width": 1.2},
                opacity=0.7,
                hovertemplate="trial %{text}<br>%{y:.4g}<extra></extra>",
                row=row,
                col=1,
            )
    after = "after the first steps" if probed["loss_before"].notna().any() else "before training"
    figure.update_xaxes(range=[0, 1.02])
    figure.update_xaxes(title_text=f"share of the depth, {after}", row=2)
    figure.update_yaxes(title_text="nats", row=1)
    figure.update_yaxes(title_text="share of the variance", range=[-0.02, 1.02], row=2)
    return figure.update_layout(title="What arrives at each layer", legend=LOW, height=640)


def plot_verdicts(
    study: Study | TuneRun,
    params: tuple[str, str],
    *,
    reference: Study | TuneRun | None = None,
    value_name: str = "objective value",
) -> go.Figure:
    """Trials over two parameters: crosses pruned, discs kept, coloured by their final value.

    Args:
        study: A study whose objective called ``probe_trial``.
        params: Names of the parameters on the x and y axes; an axis is logarithmic if its
            parameter is positive and spans more than a factor of 20. Trials without one of them
            are counted, and not drawn.
        reference: The same trials run to their end without the pruner, with parameters equal
            to those of ``study``; gives pruned trials their value. Without it they are hollow.
        value_name: Title of the colour bar.

    Raises:
        ValueError: If these are not two, or no trial has one of them.
    """
    if isinstance(params, str) or len(params) != 2:
        raise ValueError(f"`params` must name two parameters, but got {params!r}.")
    table = trials_table(study)
    columns = [PARAMETER + name for name in params]
    for name, column in zip(params, columns, strict=True):
        if len(table) and column not in table:
            known = [c.removeprefix(PARAMETER) for c in _parameters(table)]
            raise ValueError(f"`params` must name parameters of {known}, but got {name!r}.")
    probed = _probed(table)
    count = len(probed)
    if count:
        # Without those that lack a parameter, which may be drawn under a condition.
        probed = probed.dropna(subset=columns)
    lacking = f"{count - len(probed)} more have not both of these parameters"
    values = probed["value"]
    if reference is not None and len(probed):
        values = values.where(probed["trainable"] == True, _values_of(reference, probed))  # noqa: E712
    figure = go.Figure()
    for trainable in (True, False):
        mask = probed["trainable"] == trainable
        _add_trials(figure, probed[mask], values[mask], params, value_name, kept=trainable)
    for axis, name, column in zip("xy", params, columns, strict=True):
        title = {"title": escape(short(name)), **axis_scale(probed, column)}
        figure.update_layout({f"{axis}axis": title})
    return figure.update_layout(
        title="Verdict and result of every trial"
        if count == len(probed)
        else f"Verdict and result of {len(probed)} trials<br><sup>{lacking}</sup>",
        coloraxis={"colorscale": "Viridis", "colorbar": {"title": escape(value_name)}},
        legend=BELOW,
    )


def _add_trials(
    figure: go.Figure,
    trials: pd.DataFrame,
    values: pd.Series,
    params: tuple[str, str],
    value_name: str,
    *,
    kept: bool,
) -> None:
    """A marker for each, in the colour of its value."""
    valued = bool(values.notna().any())
    symbol = "circle" if kept else "x"
    at_axes = [shown_values(trials[PARAMETER + name]) if len(trials) else [] for name in params]
    long = [name for name in params if short(name) != name]
    figure.add_scatter(
        x=at_axes[0],
        y=at_axes[1],
        mode="markers",
        name=f"{'kept' if kept else 'pruned'} ({len(trials)})",
        marker={
            "symbol": symbol if valued or kept else f"{symbol}-open",
            "size": 10,
            "color": values if valued else PRUNED,
            "coloraxis": "coloraxis" if valued else None,
            "line": {"width": 1, "color": "#333"},
        },
        text=[
            _told(
                trial,
                f"{value_name}: {'unknown' if math.isnan(value) else f'{value:.3g}'}",
                *(f"{name}: {trial[PARAMETER + name]}" for name in long),
            )
            for trial, value in zip(trials.to_dict("records"), values, strict=True)
        ],
        hovertemplate="%{text}<extra></extra>",
    )


def plot_saved_compute(study: Study | TuneRun, reference: Study | TuneRun) -> go.Figure:
    """Cumulative wall clock over trials, with the pruner and without, both really run.

    Args:
        study: A study whose objective called ``probe_trial``.
        reference: The same trials run to their end without the pruner.

    Returns:
        Lines of seconds over the number of finished trials, with the pruner (probes included),
        without, and of the probes alone.
    """
    table, full = trials_table(study), trials_table(reference)
    _probed(table)
    figure = go.Figure()
    for name, seconds, colour, dash in (
        ("without the pruner", full["seconds"], PRUNED, "dash"),
        ("with the pruner, probes included", table["seconds"], KEPT, "solid"),
        ("probes alone", table["probe_seconds"].astype(float).fillna(0), "#555", "dot"),
    ):
        total = seconds.astype(float).cumsum()
        figure.add_scatter(
            x=list(range(1, len(total) + 1)),
            y=total,
            mode="lines",
            name=name,
            line={"color": colour, "dash": dash},
        )
    return figure.update_layout(
        title="Compute saved",
        xaxis_title="finished trials",
        yaxis_title="cumulative wall clock (seconds)",
        legend=BELOW,
    )


def _probed(table: pd.DataFrame) -> pd.DataFrame:
    probed = table[table["trainable"].notna()]
    if probed.empty:
        warnings.warn(
            "The study has no probed trials: its objective did not call probe_trial.", stacklevel=3
        )
    return probed


def _told(trial: Mapping[Hashable, Any], *values: str) -> str:
    """What is shown of a trial where the pointer is."""
    loss = losses(trial["loss_before"], trial["loss_after"], trial["constant_loss"])
    lines = (
        f"trial {trial['number']}: {trial['reason']}",
        f"cause: {trial['cause']}" if isinstance(trial["cause"], str) else None,
        trial["advice"],
        loss and f"loss in the first steps: {loss}",
        *values,
    )
    # Long lines would reach beyond the page.
    parts = [part for line in lines if isinstance(line, str) for part in wrap(line, 90)]
    return "<br>".join(map(escape, parts))


def _lines(
    trials: pd.DataFrame, field: str
) -> tuple[list[float | None], list[float | None], list[str]]:
    """All profiles as one line with gaps, so that the legend switches them together."""
    x: list[float | None] = []
    y: list[float | None] = []
    text: list[str] = []
    for number, profile in zip(trials["number"], trials["profile"], strict=True):
        layers = profile["layer"]
        x += [*(layer / layers[-1] for layer in layers), None]
        y += [*profile[field], None]
        text += [str(number)] * (len(layers) + 1)
    return x, y, text


def _values_of(reference: Study | TuneRun, probed: pd.DataFrame) -> pd.Series[float]:
    """The reference's value of the trial with the same parameters, for each probed trial."""
    full = trials_table(reference)
    parameters = _parameters(probed)
    known = dict(zip(_keys(full, parameters), full["value"], strict=True))
    return pd.Series([known.get(key) for key in _keys(probed, parameters)], probed.index, float)


def _keys(table: pd.DataFrame, parameters: list[str]) -> list[tuple[object, ...]]:
    # A parameter that was not drawn is NaN, which is not even equal to itself.
    known = table[parameters].astype(object).where(table[parameters].notna(), None)
    return [tuple(row) for row in known.itertuples(index=False)]


def _parameters(table: pd.DataFrame) -> list[str]:
    return [str(column) for column in table if str(column).startswith(PARAMETER)]


def short(name: str) -> str:
    """A parameter's name at an axis; where the pointer is, it is whole."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


def shown_values(values: Iterable[object]) -> list[object]:
    """Values of a parameter on an axis; Plotly takes markup in a text for such."""
    return [escape(value) if isinstance(value, str) else value for value in values]


def axis_scale(table: pd.DataFrame, column: str) -> dict[str, str]:
    """Of an axis: logarithmic where a column is positive and spans more than a factor of 20."""
    if not len(table) or not pd.api.types.is_numeric_dtype(table[column]):
        return {}
    values: Sequence[float] = table[column].tolist()
    low, high = min(values), max(values)
    return {"type": "log"} if low > 0 and high / low > 20 else {}
