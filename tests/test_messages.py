"""Tests of errors and warnings say which one they mean."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent


def without_message(source: str) -> Iterator[int]:
    """Lines in which `pytest.raises` or `pytest.warns` has no `match`."""
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Call)
            and ast.unparse(node.func) in ("pytest.raises", "pytest.warns")
            and not any(keyword.arg == "match" for keyword in node.keywords)
        ):
            yield node.lineno


def test_each_has_its_message() -> None:
    found = [
        f"{path.relative_to(HERE)}:{line}"
        for path in HERE.rglob("*.py")
        for line in without_message(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_one_without_would_be_noticed() -> None:
    source = "with pytest.raises(ValueError):\n    pass\npytest.warns(match='a')"
    assert list(without_message(source)) == [1]
