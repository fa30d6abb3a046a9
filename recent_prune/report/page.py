"""One self-contained HTML page."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Sequence
from functools import cache
from html import escape
from string import Template

import pandas as pd
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; color: #222; margin: 0 auto; padding: 1rem;
       max-width: 60rem; }
h1 { overflow-wrap: anywhere; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .3rem .8rem; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child { text-align: left; }
figure { margin: 2rem 0; }
figcaption { color: #555; }
.note { border-left: 4px solid #d55e00; padding: .2rem .8rem; background: #faf4f0; }
.tables { overflow-x: auto; }
@media print { figure { break-inside: avoid; } }
</style>
</head>
<body>
<h1>$title</h1>
<p>$lead</p>
$notes
<div class="tables">$table</div>
$figures
$details
$plotly
</body>
</html>
""")


# Plotly is a third as large in this form. Figures wait as JSON until it is there.
_PLOTLY = Template("""<script id="plotly" type="text/plain">$packed</script>
<script>
(async () => {
  const text = document.getElementById("plotly").textContent;
  const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(unpacked).text();
  document.head.append(script);
  for (const plot of document.querySelectorAll(".plot")) {
    const figure = JSON.parse(plot.nextElementSibling.textContent);
    await Plotly.newPlot(plot, figure.data, figure.layout, {responsive: true});
  }
})();
</script>""")


def html_page(
    title: str,
    lead: str,
    table: pd.DataFrame,
    figures: Sequence[tuple[go.Figure, str]],
    *,
    notes: Sequence[str] = (),
    details: Sequence[tuple[str, pd.DataFrame]] = (),
) -> str:
    """A page that needs no network: plotly.js is inside, once (2 MB, for browsers since 2023).

    Args:
        title: Heading, plain text.
        lead: First paragraph, plain text.
        table: Shown above the figures, with its index.
        figures: Each with a caption, plain text.
        notes: What a reader should not miss, plain text.
        details: Tables below the figures, each folded under a heading, without their index.
    """
    return _PAGE.substitute(
        title=escape(title),
        lead=escape(lead),
        notes="\n".join(f'<p class="note">{escape(note)}</p>' for note in notes),
        table=table.to_html(border=0),
        figures="\n".join(_figure(figure, caption) for figure, caption in figures),
        details="\n".join(_folded(heading, rows) for heading, rows in details),
        plotly=_PLOTLY.substitute(packed=_packed()) if figures else "",
    )


def _figure(figure: go.Figure, caption: str) -> str:
    shown = go.Figure(figure)
    height = shown.layout.height or 460
    # As wide as the page is.
    shown.update_layout(template="plotly_white", height=height, width=None, autosize=True)
    text = shown.to_json()  # in which Plotly escapes what could end the script that holds it
    return (
        f'<figure><div class="plot" style="height: {height}px"></div>'
        f'<script type="application/json">{text}</script>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _folded(heading: str, table: pd.DataFrame) -> str:
    rows = table.to_html(border=0, index=False, na_rep="–")
    return (
        f'<details><summary>{escape(heading)}</summary><div class="tables">{rows}</div></details>'
    )


@cache
def _packed() -> str:
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode()
