"""A trainability map as a picture."""

from __future__ import annotations

import warnings
from html import escape
from textwrap import wrap

import pandas as pd
import plotly.graph_objects as go

from recent_prune.report.figures import BELOW, PRUNED, axis_scale, short, shown_values


def plot_trainability_map(table: pd.DataFrame) -> go.Figure:
    """Where a network trains: the share of the input that arrives, and crosses where it does not.

    Args:
        table: Of :func:`recent_prune.trainability_map.trainability_map`; its first two columns are
            the axes.

    Returns:
        A heat map of the retained share of the input's variance, dark where all is lost; crosses
        on condemned networks, rings on those that could not be probed. Axes are logarithmic where
        they are positive and span more than a factor of 20. An empty figure, with a warning, if
        the table is empty.
    """
    figure = go.Figure()
    if table.empty:
        warnings.warn("The table is empty: no network was probed.", stacklevel=2)
        return figure
    x, y = map(str, table.columns[:2])
    grid = table.pivot(index=y, columns=x, values="retained")
    reasons = table.pivot(index=y, columns=x, values="reason")
    named = ["<br>".join(map(escape, wrap(name, 90))) for name in (x, y)]
    figure.add_heatmap(
        x=shown_values(grid.columns),
        y=shown_values(grid.index),
        z=grid.to_numpy(float),
        text=reasons.fillna("could not be probed").map(escape).to_numpy(),
        zmin=0,
        colorscale="Viridis",
        colorbar={"title": "retained"},
        hovertemplate=f"{named[0]} %{{x}}, {named[1]} %{{y}}<br>"
        "retained %{z:.3f}<br>%{text}<extra></extra>",
    )
    for name, chosen, symbol, colour in (
        ("will not train", table["trainable"].eq(False), "x-thin", PRUNED),
        ("could not be probed", table["error"].notna(), "circle-open", "#555"),
    ):
        if chosen.any():
            figure.add_scatter(
                x=shown_values(table.loc[chosen, x]),
                y=shown_values(table.loc[chosen, y]),
                mode="markers",
                marker={"symbol": symbol, "size": 7, "line": {"width": 2, "color": colour}},
                name=f"{name} ({chosen.sum()})",
                showlegend=True,
                hoverinfo="skip",
            )
    return figure.update_layout(
        # In two lines, for narrow screens.
        title="Where it trains<br><sup>Share of the input's variance at the deepest layer</sup>",
        xaxis={"title": escape(short(x)), **axis_scale(table, x)},
        yaxis={"title": escape(short(y)), **axis_scale(table, y)},
        legend=BELOW,
    )
