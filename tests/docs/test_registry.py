"""Text and files of results agree, and no figure is typed by hand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from docs.figures import __main__ as command
from docs.figures.markers import names, without
from docs.figures.registry import FIGURES, PICTURES, current, pages
from docs.figures.results import ROOT

WRITTEN = [*pages(), *(ROOT / name for name in PICTURES)]
OF_OTHERS = {"any_model.md", "api.md", "changelog.md", "contributing.md"}
"""A page with an output of its own, and pages that are written elsewhere."""
MEASURED = re.compile(
    r"[±−+]?\d[\d.,]* ?%|(?<![\w.=<])[±−+]?0\.\d{2,}\b|\b\d[\d,]* of \d[\d,]*\b|"
    r"\b\d[\d.,]* (?:s|ms|MB)\b"
)
SETTINGS = {
    "0.001",  # of a healthy update
    "0.005",  # rules
    "0.01",
    "0.02",  # of what is good
    "0.05",
    "0.12",
    "0.95",
    "1 %",
    "5 %",
    "60 %",  # of trials that are doomed in a benchmark
    "95 %",  # of intervals
}
"""What looks like a result and is a default, a goal or a setting."""


@pytest.fixture(scope="module")
def expected() -> dict[Path, str]:
    return dict(current())


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
def test_text_and_files_agree(path: Path, expected: dict[Path, str]) -> None:
    assert path.read_text(encoding="utf-8") == expected[path], "make figures writes it anew"


def test_all_pages_are_looked_at(expected: dict[Path, str]) -> None:
    assert set(expected) == set(WRITTEN)


def test_every_figure_is_shown() -> None:
    shown = {name for page in pages() for name in names(page.read_text(encoding="utf-8"))}
    assert shown == set(FIGURES)


def typed(page: str) -> list[str]:
    """What looks measured and is not generated, outside of code."""
    text = re.sub(r"^```.*?^```$", "", without(page), flags=re.DOTALL | re.MULTILINE)
    return [m for m in MEASURED.findall(re.sub(r"`[^`\n]*`", "", text)) if m not in SETTINGS]


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.name)
def test_no_figure_is_typed_by_hand(path: Path) -> None:
    if path.name not in OF_OTHERS:
        assert typed(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("text", ["saves 61 %", "an AUROC of 0.873", "2 of 119 lost", "in 60 s"])
def test_one_that_is_would_be_noticed(text: str) -> None:
    assert len(typed(text)) == 1


def test_each_table_of_figures_names_command_and_date() -> None:
    for name in ("cost_of_ranking", "first_steps", "probe_cost", "ray_gate", "demo", "zoo"):
        assert re.search(r"\n\n`python -m [\w. -]+`; .+; \d{4}-\d\d-\d\d\.$", FIGURES[name]())


def test_the_command_tells_what_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text("old", encoding="utf-8")
    monkeypatch.setattr(command, "ROOT", tmp_path)
    monkeypatch.setattr(command, "current", lambda: [(page, "new")])
    app = typer.Typer()
    app.command()(command.main)
    run = CliRunner().invoke(app, ["--check"])
    assert (run.exit_code, run.output) == (1, "differs: page.md\n")
    assert page.read_text(encoding="utf-8") == "old"
    run = CliRunner().invoke(app)
    assert (run.exit_code, run.output) == (0, "written: page.md\n")
    assert page.read_text(encoding="utf-8") == "new"
    assert CliRunner().invoke(app, ["--check"]).exit_code == 0


def test_pages_are_those_of_the_project() -> None:
    assert {ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "docs" / "results.md"} <= set(
        pages()
    )
