"""Reconstructions as pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go
from optuna.trial import FrozenTrial
from plotly.subplots import make_subplots
from torch import Tensor

from recent_prune.optuna import attributes
from recent_prune.optuna.stored_images import MOST_LAYERS, from_attribute
from recent_prune.probe import ProbeResult

SHOWN = MOST_LAYERS
"""Layers shown at most, first and deepest included: as many as a trial stores."""


def plot_reconstructions(result: ProbeResult | FrozenTrial, *, size: int = 110) -> go.Figure:
    """Chosen samples, and what each layer still knows of them.

    Args:
        result: Of ``probe(…, reconstruct=samples)``, or a trial of ``probe_trial(…,
            reconstruct=samples)``. Samples are images [k, h, w], [k, 1, h, w] or [k, 3, h, w], or
            as many features as a square or an RGB square has.
        size: Of an image, pixels.

    Returns:
        A row a sample with the input, then its reconstruction from the layers, shallow to deep,
        seven at most. Grey levels and colours are those of the input.

    Raises:
        ValueError: If the result has no reconstructions, or they are no images.
    """
    samples, by_layer, layers, retained = _known(result)
    inputs = as_images(samples)
    columns = [inputs, *map(as_images, by_layer)]
    titles = [
        f"{escape(name)}<br>{share:.2f}" for name, share in zip(layers, retained, strict=True)
    ]
    titles = ["input", *titles]
    figure = make_subplots(
        rows=len(inputs),
        cols=len(columns),
        column_titles=titles,
        horizontal_spacing=0.01,
        vertical_spacing=0.02,
    )
    low, high = float(inputs.min()), float(inputs.max())
    for column, images in enumerate(columns, start=1):
        for row, image in enumerate(images, start=1):
            figure.add_trace(_picture(image, low, high), row=row, col=column)
    figure.update_xaxes(visible=False, constrain="domain")
    figure.update_yaxes(visible=False, autorange="reversed", scaleanchor="x", constrain="domain")
    figure.update_annotations(font_size=11)
    return figure.update_layout(
        title="What each layer knows of the input (below: share retained)",
        width=size * len(columns) + 60,
        height=size * len(inputs) + 140,
        margin={"t": 110, "b": 20, "l": 20, "r": 20},
    )


def _known(
    result: ProbeResult | FrozenTrial,
) -> tuple[Tensor, Sequence[Tensor], Sequence[str], Sequence[float]]:
    """Samples, and of the layers to show reconstructions, names and retained shares."""
    if isinstance(result, FrozenTrial):
        if attributes.RECONSTRUCTIONS not in result.user_attrs:
            raise ValueError(
                "`result` has no reconstructions: probe_trial with reconstruct=samples."
            )
        stored = from_attribute(result.user_attrs[attributes.RECONSTRUCTIONS])
        return stored.inputs, list(stored.by_layer), stored.layers, stored.retained
    if result.reconstructions is None:
        raise ValueError("`result` has no reconstructions: probe with reconstruct=samples.")
    shown = result.spread(SHOWN)
    return (
        result.reconstructions.inputs,
        [result.reconstructions.by_layer[i] for i in shown],
        [result.layers[i] for i in shown],
        [result.retained[i] for i in shown],
    )


def as_images(samples: Tensor) -> Tensor:
    """Samples as [k, h, w, channels].

    Raises:
        ValueError: If they are no images of one or three channels.
    """
    shape = tuple(samples.shape)
    if samples.dim() == 3:
        return samples[..., None]
    if samples.dim() == 4 and shape[1] in (1, 3):
        return samples.movedim(1, -1)
    if samples.dim() == 2:
        for channels in (1, 3):
            side = math.isqrt(shape[1] // channels)
            if side**2 * channels == shape[1]:
                return samples.reshape(len(samples), channels, side, side).movedim(1, -1)
    raise ValueError(f"`result` must hold reconstructions of images, but got samples of {shape}.")


def _picture(image: Tensor, low: float, high: float) -> go.Heatmap | go.Image:
    if image.shape[-1] == 1:
        return go.Heatmap(
            z=image[..., 0].cpu().numpy().round(3),
            zmin=low,
            zmax=high,
            colorscale="gray",
            showscale=False,
            hovertemplate="%{z:.2f}<extra></extra>",
        )
    shown = (image - low) / max(high - low, 1e-9)
    return go.Image(z=(255 * shown.nan_to_num().clamp(0, 1)).round().int().cpu().numpy())
