from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.import_time import measure
from docs.figures.results import tables


def test_ratios_are_within_a_round() -> None:
    found = measure.table([{"torch": 2.0, "us": 2.2}, {"torch": 4.0, "us": 8.0}])
    assert found["times torch"].to_list() == ["1.00", "1.55"]
    assert found["least to greatest"].to_list() == ["1.00 to 1.00", "1.10 to 2.00"]
    assert found["seconds"].to_list() == ["3.00", "5.10"]


def test_writes_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "FOLDER", tmp_path)
    monkeypatch.setattr(measure, "seconds", len)
    measure.main(rounds=1)
    (written,) = tables(str(tmp_path / "results.md"))
    (kept,) = tables("benchmarks/import_time/results.md")
    assert written["import"].to_list() == kept["import"].to_list()
    assert list(written.columns) == list(kept.columns)
    assert (tmp_path / "environment.json").exists()


def test_a_process_takes_processor_time() -> None:
    assert measure.seconds("json") > 0
