"""The pages of the documentation: what they show, runs, and they build without a warning."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from ray import tune

from recent_prune.cli import app
from recent_prune.ray import probed_trials
from tests.markdown import CONTINUES, Ran, blocks, gist, ran, whole
from tests.ray.session import local_ray_session

DOCS = Path(__file__).parent.parent / "docs"
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(DOCS.glob("*.md"))}
RAY = "start_ray"
"""Needs a Ray."""
CONTINUED = {found[1] for page in PAGES.values() if (found := CONTINUES.match(page))}
"""They run with the pages that continue them."""
RUNNABLE = [
    name
    for name, page in PAGES.items()
    if name not in {RAY, *CONTINUED}
    and any(b.language == "python" or b.commands for b in blocks(page))
]
PUBLIC = ("probe", "rules", "optuna", "ray", "report")
"""Sub-packages that are documented name by name."""


def run_page(name: str, folder: Path) -> dict[str, Any]:
    """Run a page, compare what it printed with what it shows, and return what it defines."""
    found: list[Ran] = []
    for part in ran(whole(DOCS / f"{name}.md"), folder):
        if part.block.shown is not None:
            assert gist(part.printed) == gist(part.block.shown), part.block.text
        found.append(part)
    return found[-1].names


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("name", RUNNABLE)
def test_code_runs_and_prints_what_is_shown(name: str, tmp_path: Path) -> None:
    run_page(name, tmp_path)


def test_pages_with_code_are_known() -> None:
    assert {"how_to_model", "how_to_optuna", "how_it_works", "choosing_a_rule"} <= set(RUNNABLE)
    assert {"start_model", "start_optuna"} <= CONTINUED
    shown = [block for page in PAGES.values() for block in blocks(page) if block.shown]
    assert len(shown) > 8


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_ray_page_runs(tmp_path: Path) -> None:
    with local_ray_session():
        names = run_page(RAY, tmp_path)
    sweep = names["results"]
    assert isinstance(sweep, tune.ResultGrid)
    assert sweep.num_errors == 0
    assert probed_trials(sweep)["fault"].isna().all()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    run = subprocess.run(
        [*command, "-d", folder / "doctrees", DOCS, folder / "html"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return folder / "html"


class Links(HTMLParser):
    """What a page links to or shows, and what can be linked to."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.anchors: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.targets.append(value)
            elif name == "id" and value:
                self.anchors.add(value)


def broken(site: Path) -> Iterator[str]:
    """Links of a site within itself that lead nowhere."""
    pages = {path: Links(path) for path in site.glob("*.html")}
    for page, links in pages.items():
        for target in links.targets:
            parts = urlsplit(target)
            if parts.scheme:
                continue
            path = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            known = pages[path].anchors if path in pages else set()
            if not path.is_file() or (parts.fragment and parts.fragment not in known):
                yield f"{page.name}: {target}"


def test_site_builds_without_warnings(site: Path) -> None:
    assert {path.stem for path in site.glob("*.html")} >= set(PAGES)


def test_links_lead_somewhere(site: Path) -> None:
    assert list(broken(site)) == []


def test_broken_links_would_be_noticed(tmp_path: Path) -> None:
    page = '<a id="a" href="#a"></a><a href="#b"></a><img src="c.png"><a href="https://d.e"></a>'
    (tmp_path / "index.html").write_text(page, encoding="utf-8")
    assert list(broken(tmp_path)) == ["index.html: #b", "index.html: c.png"]


def test_all_public_names_are_in_the_reference(site: Path) -> None:
    known = Links(site / "api.html").anchors
    for module in PUBLIC:
        for name in import_module(f"recent_prune.{module}").__all__:
            assert f"recent_prune.{module}.{name}" in known
    top = import_module("recent_prune").__all__
    assert [name for name in top if f"rp.{name}`" not in PAGES["api"]] == []


def test_all_commands_are_in_the_reference() -> None:
    commands = [c.name or c.callback.__name__ for c in app.registered_commands if c.callback]
    assert len(commands) > 3
    assert [name for name in commands if f"`recent-prune {name}" not in PAGES["api"]] == []
