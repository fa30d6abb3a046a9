"""The pages build without a warning into a site whose links lead somewhere."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs.test_pages import DOCS, PAGES

pytestmark = pytest.mark.slow

PUBLIC = ("probe", "rules", "optuna", "ray", "report")
"""Sub-packages that are documented name by name."""


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
