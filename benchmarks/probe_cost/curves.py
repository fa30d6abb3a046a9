"""How the cost of a probe grows with depth, width, samples and the number of models."""

from __future__ import annotations

import csv
from pathlib import Path
from statistics import median

import torch
from torch import nn

import recent_prune as rp
from benchmarks.probe_cost.networks import mlp, samples
from benchmarks.probe_cost.timing import seconds

REPEATS = 5
DEPTHS = (5, 10, 20, 50, 100, 200)
WIDTHS = (16, 32, 64, 128, 256, 512, 1024)
SAMPLES = (40, 80, 160, 320, 640)
MODELS = (1, 4, 16, 64, 256)

Point = tuple[str, int, float]
"""Name of the curve, x, median seconds."""


def measure_curves(device: torch.device) -> list[Point]:
    """Time probes; ``probe_many`` counts a model's share."""
    default = rp.Ridge().samples
    points = [("depth (width 128)", x, _probe(mlp(x, 128), default, device)) for x in DEPTHS]
    points += [("width (depth 20)", x, _probe(mlp(20, x), default, device)) for x in WIDTHS]
    points += [("samples (20 × 256)", x, _probe(mlp(20, 256), x, device)) for x in SAMPLES]
    return points + [("models (20 × 64), each", x, _many(x, device)) for x in MODELS]


def save_curves(points: list[Point], path: Path) -> Path:
    """Save them as CSV and, where plotly, kaleido and a Chrome are, as a picture."""
    table = path.with_suffix(".csv")
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["curve", "x", "seconds"])
        writer.writerows((curve, x, f"{time:.6f}") for curve, x, time in points)
    try:
        return _draw(points, path.with_suffix(".svg"))
    except Exception as error:  # in many ways kaleido says that it has no browser
        print(f"no picture: {error!r:.200}")
        return table


def _draw(points: list[Point], path: Path) -> Path:
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    names = list(dict.fromkeys(curve for curve, _, _ in points))
    figure = make_subplots(2, 2, subplot_titles=names, horizontal_spacing=0.12)
    for i, name in enumerate(names):
        x = [x for curve, x, _ in points if curve == name]
        y = [time for curve, _, time in points if curve == name]
        place = {"row": i // 2 + 1, "col": i % 2 + 1}
        figure.add_trace(go.Scatter(x=x, y=y, mode="lines+markers"), **place)
        figure.update_xaxes(type="log", tickvals=x, **place)
        figure.update_yaxes(type="log", title="seconds", **place)
    figure.update_layout(template="plotly_white", showlegend=False, width=900, height=650)
    figure.write_image(path)
    return path


def _probe(model: nn.Module, count: int, device: torch.device) -> float:
    model = model.to(device)
    batch = samples(count, (next(model.parameters()).shape[1],), device)
    estimator = rp.Ridge(samples=count)
    times = [
        seconds(lambda: rp.probe(model, batch, estimator=estimator), device)
        for _ in range(REPEATS + 1)
    ]
    return median(times[1:])


def _many(count: int, device: torch.device) -> float:
    models = [mlp(20, 64, seed=seed).to(device) for seed in range(count)]
    batch = samples(rp.Ridge().samples, (784,), device)
    times = [seconds(lambda: rp.probe_many(models, batch), device) for _ in range(REPEATS + 1)]
    return median(times[1:]) / count
