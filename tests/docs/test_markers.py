from __future__ import annotations

import pytest

from docs.figures.markers import filled, names, without


def share(of: str = "all") -> str:
    return f"{of}: 0.5"


FIGURES = {
    "share": share,
    "table": lambda: "| a |\n| - |\n| 1 |",
}


def test_a_value_stands_within_its_line() -> None:
    page = "It is <!-- figure: share -->old<!-- /figure --> of it."
    assert filled(page, FIGURES) == "It is <!-- figure: share -->all: 0.5<!-- /figure --> of it."


def test_arguments_may_hold_commas_and_parentheses() -> None:
    page = "It is <!-- figure: share(a, b (c)) --><!-- /figure -->."
    assert filled(page, FIGURES) == page.replace("--><!--", "-->a, b (c): 0.5<!--")


def test_a_table_gets_lines_of_its_own_and_is_replaced_as_a_whole() -> None:
    page = "Text:\n\n<!-- figure: table --><!-- /figure -->\n"
    once = filled(page, FIGURES)
    assert once.splitlines()[2:] == [
        "<!-- figure: table -->",
        "| a |",
        "| - |",
        "| 1 |",
        "<!-- /figure -->",
    ]
    assert filled(once.replace("| 1 |", "| 2 |\n| 3 |"), FIGURES) == once


def test_a_single_line_on_its_own_is_read_as_markdown() -> None:
    page = filled("\n\n<!-- figure: share --><!-- /figure -->", FIGURES)
    assert "\nall: 0.5\n" in page


def test_what_was_typed_is_left() -> None:
    page = "a <!-- figure: share -->0.5<!-- /figure --> b"
    assert without(page) == "a  b"
    assert names(page) == {"share"}


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("a <!-- figure: share --> b", "must be followed by a name"),
        ("a <!-- figure: sh-are --><!-- /figure -->", "must be followed by a name"),
        ("a\n<!-- figure: share --><!-- /figure -->", "must not begin a line of a paragraph"),
        ("\n\n  <!-- figure: share --><!-- /figure -->", "must not begin a line of a paragraph"),
        ("a <!-- figure: table --><!-- /figure -->", "put it behind an empty line"),
    ],
)
def test_misplaced(page: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        filled(page, FIGURES)


def test_unknown() -> None:
    with pytest.raises(KeyError, match="other"):
        filled("a <!-- figure: other --><!-- /figure -->", FIGURES)
