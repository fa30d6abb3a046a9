"""The picture of a phase diagram."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from recent_prune.mean_field import critical_weight_variance
from studies.common.phase_diagram import Diagram, K, Measured

MAPS = {
    "differential_entropy": "Differential entropy of the reconstructions (nats)",
    "relative_entropy": "Relative entropy, input ‖ reconstruction (nats)",
    "retained": "Retained information (share)",
    "gram_entropy": "Gram entropy of the activations",
}
TRAINED = {"paper": "Trained: tanh, softmax and softmax again", "plain": "Trained: logits"}
PLACES = {name: (1 + i // 2, 1 + i % 2) for i, name in enumerate(MAPS)}


def phase_diagram(diagram: Diagram, found: Measured) -> go.Figure:
    """Four maps over (σ_w², depth) with cutoff and mean field, and below what trained."""
    lines = _lines(diagram, found.profiles)
    rows = 3 if len(found.training) else 2
    figure = make_subplots(
        rows=rows,
        cols=2,
        subplot_titles=[*MAPS.values(), *TRAINED.values()][: 2 * rows],
        horizontal_spacing=0.16,
        vertical_spacing=0.27 / rows,
    )
    for name, (row, column) in PLACES.items():
        wide = found.profiles.pivot(index="depth", columns="weight_variance", values=name)
        axis = figure.get_subplot(row, column)
        figure.add_heatmap(
            x=wide.columns,
            y=wide.index,
            z=wide.to_numpy(),
            colorscale="Viridis",
            colorbar={
                "len": 0.72 / rows,
                "thickness": 12,
                "x": axis.xaxis.domain[1] + 0.01,
                "y": sum(axis.yaxis.domain) / 2,
            },
            hovertemplate="σ_w² %{x}<br>layer %{y}<br>%{z:.3g}<extra></extra>",
            row=row,
            col=column,
        )
        _draw(figure, lines, row, column, legend=name == "retained")
    for column, loss in enumerate(TRAINED if rows == 3 else (), start=1):
        table = found.training[found.training["loss"] == loss]
        figure.add_scatter(
            x=table["weight_variance"],
            y=table["depth"],
            mode="markers",
            marker={
                "color": table["accuracy"],
                "colorscale": "Viridis",
                "cmin": 0,
                "cmax": diagram.training.enough,
                "size": 11,
                "symbol": np.where(table["accuracy"] > diagram.training.enough, "circle", "x"),
                "showscale": column == 2,
                "colorbar": {"len": 0.72 / rows, "thickness": 12, "y": 0.12, "title": "accuracy"},
            },
            text=[f"{value:.2f}" for value in table["accuracy"]],
            hovertemplate="σ_w² %{x}<br>depth %{y}<br>accuracy %{text}<extra></extra>",
            showlegend=False,
            row=3,
            col=column,
        )
        _draw(figure, lines, 3, column)
    figure.update_xaxes(title_text="σ_w²")
    figure.update_yaxes(title_text="depth (layers)", range=[0, diagram.depth + 1])
    return figure.update_layout(
        title=f"{diagram.name}: what reaches each layer before training"
        + (", and what trains" if rows == 3 else ""),
        height=380 * rows,
        width=1100,
        legend={"orientation": "h", "y": -0.06},
    )


Line = tuple[str, Sequence[float], Sequence[float], dict[str, object]]
"""Name, x, y and style."""


def _lines(diagram: Diagram, profiles: pd.DataFrame) -> list[Line]:
    """The paper's cutoff, and mean field."""
    cutoff = profiles.groupby("weight_variance")["cutoff"].first()
    lines: list[Line] = [
        ("cutoff (paper)", cutoff.index.tolist(), cutoff.tolist(), {"color": "magenta"})
    ]
    if diagram.bias_variance is None:
        return lines
    low, high = min(diagram.weight_variances), max(diagram.weight_variances)
    variances = np.linspace(low, high, 40).tolist()
    limits = [min(K * diagram.correlation_length(v), 10 * diagram.depth) for v in variances]
    critical = critical_weight_variance(diagram.bias_variance)
    return [
        *lines,
        (f"mean field, {K} ξ", variances, limits, {"color": "red", "dash": "dash"}),
        ("critical σ_w²", [critical] * 2, [0, diagram.depth], {"color": "red", "dash": "dot"}),
    ]


def _draw(
    figure: go.Figure, lines: Sequence[Line], row: int, col: int, legend: bool = False
) -> None:
    for name, x, y, line in lines:
        figure.add_scatter(
            x=x,
            y=y,
            mode="lines",
            name=name,
            legendgroup=name,
            showlegend=legend,
            line=line,
            row=row,
            col=col,
        )


def write(figure: go.Figure, path: Path) -> None:
    """As HTML that needs no network, and as PNG where there is a Chrome."""
    figure.write_html(path.with_suffix(".html"), include_plotlyjs=True)
    picture = path.with_suffix(".png")
    try:
        figure.write_image(picture, scale=1)
    except Exception as error:  # in many ways kaleido says that it has no browser
        print(f"No {picture.name}, which needs a Chrome (the HTML is there): {error!r:.200}")
