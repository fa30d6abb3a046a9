from __future__ import annotations

from html import escape

import pandas as pd
import pytest

from recent_prune.report import plot_trainability_map


def table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "gain": [0.5, 1.0, 0.5, 1.0],
            "depth": [2, 2, 100, 100],
            "trainable": [True, True, False, None],
            "reason": ["fine", "fine", "lost", None],
            "retained": [0.6, 0.7, 0.0, float("nan")],
            "error": [None, None, None, "RuntimeError: too deep"],
        }
    )


def test_cells_and_crosses() -> None:
    figure = plot_trainability_map(table())
    heat, crosses, rings = figure.data
    assert heat.z[0].tolist() == [0.6, 0.7]
    assert heat.text.tolist()[1] == ["lost", "could not be probed"]
    assert (list(crosses.x), list(crosses.y), crosses.name) == ([0.5], [100], "will not train (1)")
    assert (list(rings.x), rings.marker.symbol) == ([1.0], "circle-open")
    assert figure.layout.yaxis.type == "log"
    assert figure.layout.xaxis.type is None
    assert figure.layout.xaxis.title.text == "gain"


def test_the_title_fits_a_narrow_screen() -> None:
    title = plot_trainability_map(table()).layout.title.text
    assert max(len(line) for line in title.split("<br>")) < 64  # the second in small letters


def test_long_names_are_short_at_the_axis_and_whole_at_the_pointer() -> None:
    long = "<gain>_" * 20
    figure = plot_trainability_map(table().rename(columns={"gain": long}))
    assert figure.layout.xaxis.title.text == escape(long[:39]) + "…"
    assert escape(long) in figure.data[0].hovertemplate.replace("<br>", "")


def test_nothing_was_probed() -> None:
    with pytest.warns(UserWarning, match="The table is empty"):
        assert len(plot_trainability_map(pd.DataFrame()).data) == 0
