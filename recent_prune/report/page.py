"""One self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from string import Template

import pandas as pd
import plotly.graph_objects as go

_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; color: #222; margin: 0 auto; padding: 1rem;
       max-width: 60rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .3rem .8rem; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child { text-align: left; }
figure { margin: 2rem 0; }
figcaption { color: #555; }
.tables { overflow-x: auto; }
@media print { figure { break-inside: avoid; } }
</style>
</head>
<body>
<h1>$title</h1>
<p>$lead</p>
<div class="tables">$table</div>
$figures
</body>
</html>
""")


def html_page(
    title: str,
    lead: str,
    table: pd.DataFrame,
    figures: Sequence[tuple[go.Figure, str]],
) -> str:
    """A page that needs no network: plotly.js is inside, once.

    Args:
        title: Heading, plain text.
        lead: First paragraph, plain text.
        table: Shown above the figures, with its index.
        figures: Each with a caption, plain text.
    """
    blocks = [
        f"<figure>{_figure(figure, first=i == 0)}"
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for i, (figure, caption) in enumerate(figures)
    ]
    return _PAGE.substitute(
        title=escape(title),
        lead=escape(lead),
        table=table.to_html(border=0),
        figures="\n".join(blocks),
    )


def _figure(figure: go.Figure, *, first: bool) -> str:
    shown = go.Figure(figure).update_layout(template="plotly_white", height=460)
    html = shown.to_html(full_html=False, include_plotlyjs=first, config={"responsive": True})
    return str(html)
