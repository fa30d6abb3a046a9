"""Measure many points, one after another; what was measured survives whatever ends the run."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import pandas as pd
from rich.progress import track

Point = TypeVar("Point")


def collected(
    points: Mapping[str, Point],
    measure: Callable[[Point], pd.DataFrame],
    folder: Path,
    description: str,
) -> pd.DataFrame:
    """Tables of all points, those of an earlier run read rather than measured again.

    Args:
        points: By a name that is a file's and says all that a result depends on.
        measure: From a point to its table.
        folder: Where a file a point is kept; a file is complete or not there.
        description: For the progress bar.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tables = []
    for name, point in track(points.items(), description=description, total=len(points)):
        path = folder / f"{name}.csv"
        if not path.exists():
            partial = path.with_suffix(".partial")
            measure(point).to_csv(partial, index=False)
            os.replace(partial, path)
        tables.append(pd.read_csv(path))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
