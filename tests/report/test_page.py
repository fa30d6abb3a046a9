from __future__ import annotations

from html.parser import HTMLParser

import pandas as pd
import plotly.graph_objects as go

from recent_prune.report import html_page


def external(page: str) -> list[str]:
    """What a browser would load from elsewhere to show the page."""
    found: list[str] = []

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag in ("script", "link", "img", "iframe"):
                found.extend(value or "" for name, value in attrs if name in ("src", "href"))

    Links().feed(page)
    return found


def test_a_page_that_loads_plotly_would_be_noticed() -> None:
    linked = go.Figure().to_html(include_plotlyjs="cdn")
    assert len(external(linked)) == 1


def test_page_is_self_contained_and_escaped() -> None:
    figure = go.Figure(go.Scatter(x=[1, 2], y=[3, 4]))
    page = html_page(
        "A <title>", "lead & more", pd.DataFrame({"a<b": ["1"]}), [(figure, "cap <1>")] * 2
    )
    assert "A &lt;title&gt;" in page
    assert "lead &amp; more" in page
    assert "cap &lt;1&gt;" in page
    assert "a&lt;b" in page
    assert external(page) == []
    assert page.count("plotly.js v") == 1  # inside, and once
    assert page.count('class="plotly-graph-div"') == 2
    assert len(page) < 6e6


def test_figures_are_left_alone() -> None:
    figure = go.Figure(go.Scatter(x=[1, 2], y=[3, 4]))
    before = figure.to_json()
    html_page("t", "l", pd.DataFrame(), [(figure, "c")])
    assert figure.to_json() == before
