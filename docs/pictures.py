"""Draw the pictures of these pages: ``python -m docs.pictures`` (a minute; needs a Chromium).

They are drawn from what the code on the pages gives. Those of studies and benchmarks are shown from
where they lie.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import torch
from playwright.sync_api import sync_playwright
from plotly.subplots import make_subplots

import recent_prune as rp
from recent_prune.data import load_digits
from recent_prune.report import StudyReport, plot_reconstructions, plot_trainability_map
from recent_prune.trainability_map import Axis, trainability_map
from tests.markdown import ran, whole

HERE = Path(__file__).parent
NETWORKS = {
    "ordered": (0.4, "dash", "#0072b2"),
    "critical": (1.76, "solid", "#009e73"),
    "chaotic": (4.0, "dot", "#d55e00"),
}
"""σ_w² of a tanh network and its line, in colours that colour-blind readers can tell apart."""


def main() -> None:
    """Draw all of them."""
    torch.manual_seed(0)
    model = _names_of("how_to_model.md")
    _save(_map(model["build"]), "map.png", 900, 560)
    shown = plot_reconstructions(model["shown"])
    _save(shown, "reconstructions.png", shown.layout.width, shown.layout.height)
    _save(_profiles(), "profiles.png", 900, 360)
    _photograph(_names_of("how_to_optuna.md")["report"], "report.png")


def _names_of(page: str) -> dict[str, Any]:
    """What the code of a page defines, with that of the page that it continues."""
    with tempfile.TemporaryDirectory() as folder:
        *_, last = ran(whole(HERE / page), Path(folder))
    return last.names


def _map(build: Callable[..., torch.nn.Module]) -> go.Figure:
    """As the page's command draws it."""
    gain, depth = Axis.between("gain", 0.5, 6), Axis.between("depth", 4, 64)
    table = trainability_map(build, gain, depth, load_digits().train, progress=False)
    return plot_trainability_map(table)


def _profiles() -> go.Figure:
    """What three tanh networks retain over depth, and the entropy of their reconstructions."""
    titles = ("Retained information", "Relative entropy")
    figure = make_subplots(rows=1, cols=2, subplot_titles=titles, horizontal_spacing=0.14)
    for name, (variance, dash, colour) in NETWORKS.items():
        model = rp.networks.mlp(64, 10, depth=50, width=64, weight_variance=variance)
        result = rp.probe(model, load_digits().train)
        for column, profile in enumerate((result.retained, result.relative_entropy), start=1):
            figure.add_scatter(
                x=list(range(1, result.depth + 1)),
                y=profile,
                mode="lines",
                name=f"{name}, σ_w² = {variance}",
                legendgroup=name,
                showlegend=column == 1,
                line={"color": colour, "dash": dash},
                row=1,
                col=column,
            )
    figure.update_xaxes(title_text="layer")
    figure.update_yaxes(title_text="share of the input's variance", rangemode="tozero", col=1)
    figure.update_yaxes(title_text="input ‖ reconstruction (nats)", col=2)
    return figure.update_layout(legend={"orientation": "h", "y": -0.25}, margin={"t": 40})


def _save(figure: go.Figure, name: str, width: float, height: float) -> None:
    figure.write_image(HERE / "pictures" / name, width=width, height=height)


def _photograph(report: StudyReport, name: str) -> None:
    """What a browser shows of a report, from its top."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        path = Path(folder) / "report.html"
        path.write_text(report.page(), encoding="utf-8")
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        # A sandbox needs rights that containers rarely give.
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 900, "height": 1010})
        page.goto(path.as_uri())
        page.wait_for_selector(".js-plotly-plot .main-svg")
        page.screenshot(path=HERE / "pictures" / name)
        browser.close()


if __name__ == "__main__":
    main()
