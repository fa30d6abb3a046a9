from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from recent_prune.report import html_page


def test_page_is_self_contained_and_escaped() -> None:
    figure = go.Figure(go.Scatter(x=[1, 2], y=[3, 4]))
    page = html_page(
        "A <title>", "lead & more", pd.DataFrame({"a<b": ["1"]}), [(figure, "cap <1>")] * 2
    )
    assert "A &lt;title&gt;" in page
    assert "lead &amp; more" in page
    assert "cap &lt;1&gt;" in page
    assert "a&lt;b" in page
    assert "src=" not in page.split("</style>")[1].split("<script")[0]
    assert "cdn.plot.ly" not in page.replace("https://cdn.plot.ly/", "", 0).split("<body>")[0]
    assert page.count("plotly.js v") == 1  # inside, and once
    assert page.count('class="plotly-graph-div"') == 2
    assert len(page) < 6e6


def test_figures_are_left_alone() -> None:
    figure = go.Figure(go.Scatter(x=[1, 2], y=[3, 4]))
    before = figure.to_json()
    html_page("t", "l", pd.DataFrame(), [(figure, "c")])
    assert figure.to_json() == before
