from __future__ import annotations

import json
from pathlib import Path

import pytest

from docs.figures import results
from docs.figures.results import Source, environment, kept, line, markdown, table

PAGE = """Python 3.11, two threads. More.

| name | a | b |
| --- | --- | ---: |
| x, y | 0.5 [0.4, 0.6] |  |

| name | c |
| --- | --- |
| z | 3 of 4 |
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "ROOT", tmp_path)
    (tmp_path / "page.md").write_text(PAGE, encoding="utf-8")
    known = {"machine": "x86_64", "threads": 1, "python": "3.11.7", "torch": "2.14"} | {
        "date": "2026-01-01"
    }
    (tmp_path / "environment.json").write_text(json.dumps(known), encoding="utf-8")


def test_reads_the_table_that_has_the_columns() -> None:
    assert table("page.md", "a", "b").loc["x, y", "a"] == "0.5 [0.4, 0.6]"
    assert table("page.md", "a", "b").loc["x, y", "b"] == ""
    assert table("page.md", "c").loc["z", "c"] == "3 of 4"
    with pytest.raises(ValueError, match=r"page\.md has no table with the columns \('d',\)"):
        table("page.md", "d")


def test_environments() -> None:
    assert environment("environment.json") == "x86_64, 1 thread, Python 3.11.7, torch 2.14"
    source = kept("a.module", "environment.json")
    assert str(source) == (
        "`python -m a.module`; x86_64, 1 thread, Python 3.11.7, torch 2.14; 2026-01-01."
    )
    assert line("page.md", "Python") == "Python 3.11, two threads. More"
    with pytest.raises(ValueError, match="no line with 'GPU'"):
        line("page.md", "GPU")


def test_writes_numbers_to_the_right_and_says_where_they_are_from() -> None:
    rows = [
        {"name": "a", "share": "0.5", "text": "b"},
        {"name": "c", "share": "**10**", "text": ""},
    ]
    assert markdown(rows, Source("make it", "a machine", "2026-01-01")).splitlines() == [
        "| name |  share | text |",
        "| ---- | -----: | ---- |",
        "| a    |    0.5 | b    |",
        "| c    | **10** |      |",
        "",
        "`make it`; a machine; 2026-01-01.",
    ]
