from __future__ import annotations

import math
from html.parser import HTMLParser

import pandas as pd
import pytest

from recent_prune.audit import Audit
from recent_prune.notebook import html_table
from recent_prune.preflight import Estimate, PreflightResult
from recent_prune.rules import Cause, Verdict
from recent_prune.testing import example_result, example_results, example_steps

BAD = "<script>alert(1)</script>"


class Cells(HTMLParser):
    """The texts of a table, and the tags that it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def cells(shown: object) -> list[str]:
    """What a notebook would show of it; nothing but a table."""
    found = Cells(shown._repr_html_())  # type: ignore[attr-defined]
    assert found.tags <= {"table", "caption", "b", "thead", "tbody", "tr", "th", "td"}
    return found.texts


def test_a_result_shows_a_choice_of_its_layers() -> None:
    deep = example_result([0.5] * 100, layers=(BAD, *(f"layer{i}" for i in range(99))))
    texts = cells(deep)
    assert texts[0] == "100 layers, 160 samples, 0.1 s"
    assert BAD in texts
    assert "layer98" in texts
    assert len(deep._repr_html_()) < 2000


def test_a_result_tells_of_its_first_steps() -> None:
    assert "6 steps: loss 2.5 → 1.9" in cells(example_result(steps=example_steps()))[0]


@pytest.mark.parametrize("name", example_results())
def test_whatever_a_probe_returns_can_be_shown(name: str) -> None:
    assert "retained" in cells(example_results()[name])


def test_a_verdict() -> None:
    kept = cells(Verdict(True, -0.5, BAD))
    assert kept == ["Can train", "reason", BAD, "violation", "-0.5"]
    condemned = cells(Verdict(False, 1.0, "No.", Cause.DEAD, "Wake it."))
    assert condemned[0] == "Will not train"
    assert condemned[3:7] == ["cause", "dead", "advice", "Wake it."]


def test_a_preflight() -> None:
    memory = Estimate(2**21, 2**20, 2**22)
    plain = PreflightResult("cpu", "traced", 64, memory, {"activations": 2**20}, (), 9)
    assert cells(plain) == [
        "A training step at batch 64",
        *("memory", "1 MiB to 4 MiB"),
        *("of which activations", "1 MiB"),
    ]
    timed = PreflightResult(
        *("cpu", "traced", 64, memory, {}, (), 9),
        budget=100,
        step_seconds=Estimate(0.1, 0.1, 0.2),
        notes=(BAD,),
    )
    assert cells(timed)[3:] == ["a step", "0.1 s", "the full training", "10 s", "note", BAD]


def test_an_audit() -> None:
    table = pd.DataFrame({"figure": ["trials", BAD], "value": ["9", math.nan]})
    texts = cells(Audit(table, table, 0.01, 0.95))
    assert texts == ["Audit", "figure", "value", "trials", "9", BAD, "nan"]


def test_without_a_head() -> None:
    assert "<th>" not in html_table("Title", ("", ""), [("a", 1)])
