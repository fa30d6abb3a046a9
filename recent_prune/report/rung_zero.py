"""What rung zero stopped, and what its ranking was worth."""

from __future__ import annotations

import pandas as pd

FEWEST = 5
"""Trained trials of which a rank correlation says anything."""


def stopped(probed: pd.DataFrame) -> pd.Series:
    """Which trials were not condemned, and stood too low.

    Args:
        probed: Of :func:`recent_prune.report.trials.trials_table`.
    """
    return (probed["trainable"] == True) & (probed["stopped"] == True)  # noqa: E712


def ranked(probed: pd.DataFrame, minimized: bool) -> str:
    """How many were stopped, and how the others' ranks and values go together.

    Args:
        probed: As of :func:`stopped`.
        minimized: Whether low values are better.
    """
    count = int(stopped(probed).sum())
    text = f"{count} ({count / max(len(probed), 1):.0%})"
    trained = probed[(probed["state"] == "COMPLETE") & probed["rank_score"].notna()]
    if len(trained) < FEWEST:
        return text
    value = trained["value"].astype(float) * (-1 if minimized else 1)
    rank = trained["rank_score"].astype(float).corr(value, "spearman")
    return (
        f"{text}; of the {len(trained)} that were trained, score and value have a rank correlation "
        f"of {rank:.2f}"
    )
