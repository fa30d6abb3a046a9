from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.demo import measure
from docs.figures.results import tables
from recent_prune import demo


def test_keeps_what_the_demo_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "FOLDER", tmp_path)
    monkeypatch.setattr(measure, "TRIALS", 2)
    monkeypatch.setattr(measure, "SETTINGS", demo.Settings("digits", 1438, 1, "random", 0))
    measure.main()
    (written,) = tables(str(tmp_path / "results.md"))
    (recorded,) = tables("benchmarks/demo/results.md")
    assert list(written.columns) == list(recorded.columns)
    assert written[""].to_list() == recorded[""].to_list()
    assert written.set_index("").loc["trials", "without"] == "2"
    kept = json.loads((tmp_path / "environment.json").read_text(encoding="utf-8"))
    assert {"machine", "threads", "python", "torch", "date"} == set(kept)
