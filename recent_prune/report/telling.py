"""Which parameters the verdicts of a study depend on."""

from __future__ import annotations

import pandas as pd

from recent_prune.report.trials import PARAMETER


def telling_parameters(probed: pd.DataFrame) -> tuple[str, str] | None:
    """The two numeric parameters that the violation depends on most, by rank.

    Where the violation is unknown, or the same for all, the retained share stands for it. What few
    trials have tells little: a correlation counts by the share of trials that it is of.
    """
    judged = probed["violation"].astype(float)
    if judged.nunique() < 2:
        judged = probed["retained"].astype(float)
    found = {}
    for column in map(str, probed):
        if not column.startswith(PARAMETER):
            continue
        values = pd.to_numeric(probed[column], errors="coerce")
        if values.nunique() > 2:
            found[column.removeprefix(PARAMETER)] = _rank_correlation(values, judged)
    best = sorted(found, key=lambda name: -found[name])[:2]
    return (best[0], best[1]) if len(best) == 2 else None


def _rank_correlation(first: pd.Series, second: pd.Series) -> float:
    """Spearman's, without its sign, times the share of rows that have both.

    0 where one side is constant and it is not defined.
    """
    both = pd.DataFrame({"first": first, "second": second}).dropna()
    if (both.nunique() < 2).any():
        return 0.0
    share = len(both) / len(first)
    return share * abs(float(both["first"].corr(both["second"], method="spearman")))
