"""Generated text in a Markdown page, between two comments that no reader sees.

A figure stands as ``<!-- figure: NAME -->…<!-- /figure -->``, or with arguments as
``<!-- figure: NAME(ONE; OTHER) -->…``. Behind an empty line it gets lines of its own, such as a
table; within a line it is a value. It cannot begin a line of a paragraph: Markdown would end the
paragraph there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial

Figures = Mapping[str, Callable[..., str]]
"""From a name to what writes that figure, in Markdown, from arguments that are texts."""

MARKED = re.compile(
    r"(?P<begin><!-- figure: (?P<name>\w+)(?:\((?P<arguments>[^\n]*?)\))? -->)"
    r"(?P<shown>.*?)(?P<end><!-- /figure -->)",
    flags=re.DOTALL,
)
BEGIN = "<!-- figure:"


def filled(page: str, figures: Figures) -> str:
    """The page with all its figures as they should be.

    Raises:
        KeyError: If a figure is not known.
        ValueError: If a marker is not written or does not stand as above.
    """
    if len(MARKED.findall(page)) != page.count(BEGIN):
        raise ValueError(f"{BEGIN} must be followed by a name, --> and <!-- /figure -->")
    return MARKED.sub(partial(_written, figures), page)


def names(page: str) -> set[str]:
    """Of all figures of a page."""
    return {found["name"] for found in MARKED.finditer(page)}


def without(page: str) -> str:
    """What was typed by hand."""
    return MARKED.sub("", page)


def _written(figures: Figures, found: re.Match[str]) -> str:
    arguments = [a.strip() for a in found["arguments"].split(";")] if found["arguments"] else []
    text = figures[found["name"]](*arguments)
    if _on_its_own(found):
        text = f"\n{text}\n"
    elif "\n" in text:
        raise ValueError(f"{found['begin']} has several lines: put it behind an empty line")
    return f"{found['begin']}{text}{found['end']}"


def _on_its_own(found: re.Match[str]) -> bool:
    """Whether it stands behind an empty line, and not within one."""
    above, _, before = found.string[: found.start()].rpartition("\n")
    if before.strip():
        return False
    if before or (above and not above.endswith("\n")):
        raise ValueError(f"{found['begin']} must not begin a line of a paragraph")
    return True
