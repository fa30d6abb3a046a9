from __future__ import annotations

from xml.etree import ElementTree

import pandas as pd
import pytest

from benchmarks.compute_saved.sweep import BEHIND, CONDEMNED, EXPLORED, TRAINED
from docs.figures import sweep
from docs.figures.sweep import Sweep, caption, svg

SVG = "{http://www.w3.org/2000/svg}"
MADE_UP = Sweep(
    pd.DataFrame(
        {
            "outcome": [TRAINED, EXPLORED, BEHIND, CONDEMNED, CONDEMNED],
            "accuracy": [0.9, 0.5, 0.95, 0.1, 0.0],
            "learning_rate": [1e-3, 1e-5, 1.0, 0.1, 0.1],
        }
    ),
    cost=0.4,
    probes=0.02,
)


@pytest.fixture
def _made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sweep, "read", classmethod(lambda _: MADE_UP))


@pytest.mark.usefixtures("_made_up")
def test_the_caption_says_it_in_words() -> None:
    text = caption()
    assert "5 candidates" in text
    assert "2 are trained, 1 of them at random; 3 are not: 2 cannot train, 1 rank" in text
    assert "accuracy of 0.900, the best of all 0.950, at 40 % of" in text


@pytest.mark.usefixtures("_made_up")
def test_draws_a_mark_a_candidate_one_in_the_legend_and_the_best() -> None:
    picture = ElementTree.fromstring(svg())
    marks = [m.get("class") for m in picture.iter() if m.tag in (f"{SVG}circle", f"{SVG}path")]
    assert sorted(str(mark) for mark in marks) == sorted(
        ["trained"] * 2 + ["explored"] * 2 + ["behind"] * 2 + ["condemned"] * 3 + ["best"]
    )
    best = next(m for m in picture.iter(f"{SVG}circle") if m.get("class") == "best")
    assert float(str(best.get("cx"))) == sweep.RIGHT
    widths = [float(str(r.get("width"))) for r in picture.iter(f"{SVG}rect")][1:]
    assert widths == pytest.approx([sweep.BAR, 0.4 * sweep.BAR, 0.02 * sweep.BAR])


def test_the_recorded_one_is_whole() -> None:
    recorded = Sweep.read()
    assert recorded.count(TRAINED, EXPLORED, BEHIND, CONDEMNED) == len(recorded.candidates)
    assert 0 < recorded.probes < recorded.cost < 1


def test_is_drawn_for_light_and_for_dark_pages() -> None:
    picture = svg()
    assert "prefers-color-scheme:dark" in picture
    assert "<title" in picture
    assert "http" not in picture.replace("http://www.w3.org/2000/svg", "")
