"""What the pages of the documentation show, runs, and prints what they say."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from recent_prune.cli import app
from recent_prune.cli.console import UNTRAINABLE
from recent_prune.data import load_digits
from recent_prune.rules.profile_numbers import trainability_model
from tests.markdown import CONTINUES, blocks, run_page

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(DOCS.glob("*.md"))}
WITH_RAY = "start_ray"
"""Is run by ``test_ray_page.py``."""
CONTINUED = {found[1] for page in PAGES.values() if (found := CONTINUES.match(page))}
"""They run with the pages that continue them."""
RUNNABLE = [
    name
    for name, page in PAGES.items()
    if name not in {WITH_RAY, *CONTINUED}
    and any(b.language == "python" or b.commands for b in blocks(page))
]


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("name", RUNNABLE)
def test_code_runs_and_prints_what_is_shown(name: str, tmp_path: Path) -> None:
    run_page(DOCS / f"{name}.md", tmp_path)


def test_pages_with_code_are_known() -> None:
    assert {"how_to_model", "how_to_optuna", "how_it_works", "choosing_a_rule"} <= set(RUNNABLE)
    assert {"start_model", "start_optuna"} <= CONTINUED
    shown = [block for page in PAGES.values() for block in blocks(page) if block.shown]
    assert len(shown) > 8


def test_the_default_rule_looks_at_as_many_numbers_as_pages_say() -> None:
    assert len(trainability_model().curves) == 5
    assert "looks at five numbers" in PAGES["how_it_works"]
    assert "from five numbers" in PAGES["choosing_a_rule"]


def test_lightning_is_found_where_it_is_told_of() -> None:
    assert "[Lightning](how_to_optuna.md#in-lightning)" in PAGES["any_model"]


def test_extras_and_packages_are_told() -> None:
    project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    assert [name for name in extras if f"| `{name}` " not in PAGES["index"]] == []
    assert "`accelerate`" in PAGES["any_model"]
    assert "package `tensorboardX`" in PAGES["how_to_optuna"]


def test_the_reference_has_every_exit_status() -> None:
    told = PAGES["api"][PAGES["api"].index("Exit status: ") :].split("\n\n")[0]
    assert all(f"`{name}`" in told for name in ("probe", "preflight"))
    assert {"0", "1", "2", str(UNTRAINABLE), "130"} == set(re.findall(r"\d+", told))


@pytest.mark.parametrize("name", ["how_to_optuna", "start_ray"])
def test_a_printed_summary_is_whole(name: str) -> None:
    (line,) = re.findall(r"^print\((report\.summary.*)\)$", PAGES[name], flags=re.MULTILINE)
    long = "saved, " * 30
    report = SimpleNamespace(summary=pd.DataFrame({"value": {"saved": long}}))
    assert long.strip() in eval(line, {"report": report})


def test_the_number_of_batches_in_the_ray_page_is_explained() -> None:
    assert -(-len(load_digits().train) // 64) == 23
    assert "# 23 of 64 images" in PAGES[WITH_RAY]
    assert "budget=EPOCHS * 23)" in PAGES[WITH_RAY]


def test_all_commands_are_in_the_reference() -> None:
    commands = [c.name or c.callback.__name__ for c in app.registered_commands if c.callback]
    assert len(commands) > 3
    assert [name for name in commands if f"`recent-prune {name}" not in PAGES["api"]] == []
