"""What hosts of repositories and packages read: citation, issue forms, what a wheel holds."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

import recent_prune

ROOT = Path(__file__).parent.parent
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def test_citation_names_this_version_and_the_article() -> None:
    known = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert known["cff-version"] == "1.2.0"
    assert known["version"] == recent_prune.__version__
    assert {"title", "authors", "message"} <= set(known)
    assert "2406.12916" in known["preferred-citation"]["url"]


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_issue_forms_ask_for_what_info_prints(path: Path) -> None:
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    if path.stem == "config":
        assert form == {"blank_issues_enabled": True}
        return
    assert {"name", "description", "body"} <= set(form)
    fields = {field["id"]: field for field in form["body"]}
    assert "recent-prune info" in fields["info"]["attributes"]["label"]
    assert all(field["type"] == "textarea" for field in fields.values())
    assert all(field["validations"]["required"] for field in fields.values())


def test_a_wheel_holds_the_package_alone() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"] == {"packages": ["recent_prune"]}
    files = [p for p in (ROOT / "recent_prune").rglob("*") if p.is_file() and p.suffix != ".pyc"]
    data = {p.relative_to(ROOT / "recent_prune").as_posix() for p in files if p.suffix != ".py"}
    assert data == {
        "py.typed",
        "rules/first_steps_rank.json",
        "rules/first_steps_reach.json",
        "rules/trainability.json",
    }
    assert [p for p in files if p.name.startswith("test_")] == []
