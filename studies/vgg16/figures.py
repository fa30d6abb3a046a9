"""Pictures from layers and from single channels, with what they retain below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.express as px
import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import Tensor, nn

RANKS = ("best", "median", "worst")
"""Channels of a layer that are shown."""

PANEL, GAP = 230, 50
"""Height of the plot below the pictures, and of what is between, pixels."""


def by_layer(title: str, table: pd.DataFrame, seen: Tensor) -> go.Figure:
    """A column a layer: the shown images, and below them the numbers.

    Args:
        title: Of the figure.
        table: A line a column, the images themselves first.
        seen: Images [columns, k, 3, size, size].
    """
    labels = table["layer"].tolist()
    figure = _montage_above(title, seen.transpose(0, 1), labels, [""] * seen.shape[1], cell=66)
    for name, column in (
        ("retained information (share)", "retained"),
        ("relative entropy (nats)", "relative_entropy"),
    ):
        figure.add_scatter(x=list(range(len(table))), y=table[column], name=name, row=2, col=1)
    # In line with the pictures.
    figure.update_xaxes(
        range=[-0.5, len(labels) - 0.5],
        tickvals=list(range(len(labels))),
        ticktext=labels,
        row=2,
    )
    return figure.update_yaxes(rangemode="tozero", row=2)


def by_channel(
    title: str, table: pd.DataFrame, whole: Mapping[str, Tensor], single: Mapping[str, Tensor]
) -> go.Figure:
    """A row a layer: two images, each from all channels together and from single ones.

    Args:
        title: Of the figure.
        table: A line a channel.
        whole: The images themselves as ``"input"``, and from each layer, [k, 3, size, size].
        single: From the channels of ``RANKS`` of some layers, [3, k, 3, size, size].
    """
    shown = min(2, len(whole["input"]))
    rows = [
        torch.stack(
            [
                picture
                for image in range(shown)
                for picture in (whole["input"][image], whole[layer][image], *channels[:, image])
            ]
        )
        for layer, channels in single.items()
    ]
    labels = ["input", "all", *RANKS] * shown
    figure = _montage_above(title, torch.stack(rows), labels, list(single), cell=96)
    for layer, group in table.groupby("layer", sort=False):
        figure.add_scatter(
            x=np.linspace(0, 1, len(group)),
            y=group["retained"].sort_values(ascending=False),
            name=layer,
            mode="lines",
            row=2,
            col=1,
        )
    figure.update_xaxes(title_text="channels of the layer, best to worst (share)", row=2)
    return figure.update_yaxes(title_text="retained information", row=2)


def _montage_above(
    title: str, pictures: Tensor, columns: Sequence[str], rows: Sequence[str], cell: int
) -> go.Figure:
    """Pictures [r, c, 3, h, w] with captions, above an empty plot.

    All are one image, in units of columns and rows: hundreds of small plots are slow.
    """
    framed = nn.functional.pad(pictures.clamp(0, 1), (1, 1, 1, 1), value=1)
    r, c, _, h, w = framed.shape
    pixels = (255 * framed).byte().permute(0, 3, 1, 4, 2).reshape(r * h, c * w, 3)
    image = px.imshow(pixels.numpy(), binary_string=True).data[0]
    image.update(dx=1 / w, x0=(1 / w - 1) / 2, dy=1 / h, y0=(1 / h - 1) / 2, hoverinfo="skip")
    height = r * cell + GAP + PANEL
    figure = make_subplots(
        rows=2, cols=1, row_heights=[r * cell, PANEL], vertical_spacing=GAP / height
    )
    figure.add_trace(image, row=1, col=1)
    figure.update_xaxes(
        range=[-0.5, c - 0.5], tickvals=list(range(c)), ticktext=columns, side="top", row=1
    )
    figure.update_yaxes(range=[r - 0.5, -0.5], tickvals=list(range(r)), ticktext=rows, row=1)
    margin = {"l": 70, "r": 20, "t": 80, "b": 90}
    return figure.update_layout(
        title=title,
        width=c * cell + margin["l"] + margin["r"],
        height=height + margin["t"] + margin["b"],
        margin=margin,
        legend={"orientation": "h", "yanchor": "top", "y": -45 / height},
    )
