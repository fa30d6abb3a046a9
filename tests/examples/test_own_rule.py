"""The rule of a package of somebody's, with the tests that it inherits."""

from __future__ import annotations

import sys
import tomllib
from importlib import import_module
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest

from recent_prune.cli import rules
from recent_prune.testing import RuleContract, example_result

FOLDER = Path(__file__).parents[2] / "examples" / "own_rule"


def imported(name: str) -> Any:
    """A module of the example, as where it is installed."""
    sys.path.insert(0, str(FOLDER))
    try:
        return import_module(name)
    finally:
        sys.path.remove(str(FOLDER))


TestArrives = imported("test_arrives").TestArrives


def test_inherits_the_contract() -> None:
    assert issubclass(TestArrives, RuleContract)


def test_is_found_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    project = tomllib.loads((FOLDER / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    known = project["entry-points"][rules.GROUP]
    found = EntryPoints(EntryPoint(name, value, rules.GROUP) for name, value in known.items())
    monkeypatch.setattr(rules, "entry_points", lambda group: found.select(group=group))
    verdict = rules.rule_named("arrives")(example_result([0.5, 0.01]))
    assert verdict.reason == "1.0% of the input arrives at 'tanh2'."
