from __future__ import annotations

import base64
import gzip
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go

from recent_prune.report import html_page
from tests.browser import looked_at, needs_chromium

FIGURE = go.Figure(go.Scatter(x=[1, 2], y=[3, 4], name="</script>"))


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
    page = html_page(
        "A <title>",
        "lead & more",
        pd.DataFrame({"a<b": ["1"]}),
        [(FIGURE, "cap <1>")] * 2,
        notes=["mind <this>"],
        details=[("All & everything", pd.DataFrame({"c<d": ["2"]}))],
    )
    assert "A &lt;title&gt;" in page
    assert "lead &amp; more" in page
    assert "cap &lt;1&gt;" in page
    assert "a&lt;b" in page
    assert '<p class="note">mind &lt;this&gt;</p>' in page
    assert "<summary>All &amp; everything</summary>" in page
    assert "c&lt;d" in page
    assert external(page) == []
    figures = re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)
    assert [json.loads(text)["data"][0]["name"] for text in figures] == ["</script>"] * 2
    (packed,) = re.findall(r'<script id="plotly" type="text/plain">(.*?)</script>', page)
    assert "plotly.js v" in gzip.decompress(base64.b64decode(packed)).decode()
    assert len(page) < 2.5e6


def test_without_figures_there_is_no_script() -> None:
    assert "<script" not in html_page("t", "l", pd.DataFrame(), [])


def test_figures_are_left_alone() -> None:
    before = FIGURE.to_json()
    html_page("t", "l", pd.DataFrame(), [(FIGURE, "c")])
    assert FIGURE.to_json() == before


@needs_chromium
def test_page_draws_in_a_browser(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(html_page("t", "l", pd.DataFrame(), [(FIGURE, "c")]), encoding="utf-8")
    looked_at(path)
