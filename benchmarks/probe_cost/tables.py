"""Tables as Markdown, without pandas: a machine with a GPU may have PyTorch alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def megabytes(size: float) -> str:
    """Bytes for a table."""
    return f"{size / 1e6:,.0f} MB"


def markdown(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows with the same columns, the first of which is text."""
    first, *others = rows[0]
    lines: list[list[object]] = [[first, *others], ["---", *("---:" for _ in others)]]
    lines += [list(row.values()) for row in rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
