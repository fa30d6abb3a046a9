"""Links within the project lead somewhere, headings included; what is elsewhere is not asked."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt
from myst_parser.mdit_to_docutils.base import default_slugify

ROOT = Path(__file__).parent.parent
FOLDERS = (".github", "benchmarks", "docs", "examples", "optunahub", "studies", "tests")
PAGES = [
    page
    for folder in (ROOT, *(ROOT / name for name in FOLDERS))
    for page in (folder.glob("*.md") if folder == ROOT else folder.rglob("*.md"))
]
PARSER = MarkdownIt("commonmark").enable("table")


def targets(page: Path) -> Iterator[str]:
    """What a page links to or shows."""
    for token in PARSER.parse(page.read_text(encoding="utf-8")):
        for child in token.children or ():
            if child.type in ("link_open", "image"):
                yield str(child.attrs["href" if child.type == "link_open" else "src"])


@cache
def anchors(page: Path) -> set[str]:
    """Of its headings, as GitHub and Sphinx name them; of a folder, those of its README."""
    page = page / "README.md" if page.is_dir() else page
    tokens = PARSER.parse(page.read_text(encoding="utf-8"))
    return {
        default_slugify("".join(part.content for part in text.children or ()))
        for heading, text in pairwise(tokens)
        if heading.type == "heading_open"
    }


def broken(page: Path) -> Iterator[str]:
    """Links that lead nowhere."""
    for target in targets(page):
        parts = urlsplit(target.removeprefix("path:"))  # Sphinx's word for a file that is no page
        if parts.scheme:
            continue
        path = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        if not path.exists() or (parts.fragment and parts.fragment not in anchors(path)):
            yield target


def test_links_lead_somewhere() -> None:
    found = [f"{page.relative_to(ROOT)}: {target}" for page in PAGES for target in broken(page)]
    assert found == []


def test_all_pages_are_known() -> None:
    found = {page.relative_to(ROOT).parts[0] for page in PAGES}
    assert {"README.md", "CHANGELOG.md", "docs", "benchmarks", "studies"} <= found
    assert sum(1 for _ in targets(ROOT / "README.md")) > 12


def test_broken_links_would_be_noticed(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# A `b` of c\n", encoding="utf-8")
    page = tmp_path / "page.md"
    page.write_text(
        "# Head\n[a](#head) [b](#tail) [c](other.md#a-b-of-c) [d](path:other.md#b)\n\n"
        "| ![e](e.png) | [f](https://g.h) |\n| - | - |\n\n`[i](j)`\n",
        encoding="utf-8",
    )
    assert list(broken(page)) == ["#tail", "path:other.md#b", "e.png"]
