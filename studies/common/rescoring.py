"""Score networks that were trained before by today's rule."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from rich.progress import track

from studies.common.phase_diagram import Diagram, Measured, probed
from studies.common.precision import convolutions


def rescored(diagram: Diagram, folder: Path) -> Measured:
    """What a diagram's networks came to, the trained ones probed anew.

    Args:
        diagram: Whose networks are built again.
        folder: That holds ``NAME_profiles.csv`` and ``NAME_training.csv``.
    """
    profiles, training = (
        pd.read_csv(folder / f"{diagram.name}_{what}.csv") for what in ("profiles", "training")
    )
    columns = ["weight_variance", "depth"]
    points = training[columns].drop_duplicates().itertuples(index=False)
    rows = []
    with convolutions(tf32=diagram.tf32):
        for variance, depth in track(list(points), description=f"Probing {diagram.name}"):
            _, known = probed(diagram, float(variance), int(depth))
            rows.append({"weight_variance": variance, "depth": depth, **known})
    kept = training.drop(columns=["retained", "score"])
    return Measured(profiles, kept.merge(pd.DataFrame(rows), on=columns))
