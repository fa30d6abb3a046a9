"""What a part of the benchmark counted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from benchmarks.tables import markdown


@dataclass(frozen=True)
class Counted:
    """One figure.

    Attributes:
        case: Under which circumstances, as "8 processes, SQLite".
        what: What was counted, as "trials lost".
        counted: How often it was seen, or the figure itself.
        out_of: Of how many, where that means something.
        goal: What it must reach, as "0"; empty where there is none.
        note: The cause where it is known, in a few words.
    """

    case: str
    what: str
    counted: float
    out_of: int | None = None
    goal: str = ""
    note: str = ""


def save(rows: Iterable[Counted], path: Path) -> None:
    """Write them as CSV."""
    pd.DataFrame([asdict(row) for row in rows]).to_csv(path, index=False)


def as_markdown(path: Path) -> str:
    """What stands in such a file, as a table."""
    table = pd.read_csv(path, dtype={"goal": str, "note": str}).fillna({"goal": "", "note": ""})
    table["counted"] = table["counted"].map(lambda n: f"{n:.0f}" if n >= 1000 else f"{n:.4g}")
    table["out_of"] = table["out_of"].map(lambda number: "" if pd.isna(number) else f"{number:.0f}")
    return markdown(table.rename(columns={"out_of": "out of"}))
