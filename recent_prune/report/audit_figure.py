"""The figure of an audit."""

from __future__ import annotations

import warnings

import plotly.graph_objects as go
from optuna.study import Study

from recent_prune.audit import Audit, RankingAudit
from recent_prune.optuna import audit
from recent_prune.report.figures import BELOW, KEPT, PRUNED


def plot_audit(study: Study | Audit | RankingAudit) -> go.Figure:
    """What was not trained, and how sure it is that little was lost, over the trials of a study.

    Args:
        study: A study that rung zero or a ``CertifiedRule`` has pruned, or an audit, such as that
            of a Tune run by :func:`recent_prune.ray.audit`.

    Returns:
        Of rung zero, the probability that of two trainings the one with the better score ends
        better, and the share that is kept. Of a certified rule, the bound on the rate of good
        trials lost and what is tolerated; audited trials that turned out good are marked. An empty
        figure, with a warning, if there is neither.
    """
    try:
        found = audit(study) if isinstance(study, Study) else study
    except ValueError as error:
        warnings.warn(str(error), stacklevel=2)
        return _titled(go.Figure(), "Good trials lost", "Share of the good trials")
    return _of_ranking(found) if isinstance(found, RankingAudit) else _of_certified(found)


def audit_figures(study: Study) -> list[tuple[go.Figure, str]]:
    """The figure with its caption, where there is something to audit."""
    try:
        found = audit(study)
    except ValueError:
        return []
    ranked = isinstance(found, RankingAudit)
    caption = (
        "Whether trainings whose candidates had a better score end better; where they do not, more "
        "are kept."
        if ranked
        else "The bound on the good trials that were thrown away."
    )
    return [(plot_audit(found), caption)]


def _of_ranking(found: RankingAudit) -> go.Figure:
    figure = go.Figure()
    table = found.over_time
    for column, color, name in (
        ("concordance", KEPT, "the better score ends better (0.5: the ranking says nothing)"),
        ("keep", PRUNED, "share that is kept"),
    ):
        figure.add_scatter(
            x=table["number"],
            y=table[column],
            mode="lines",
            line={"color": color, "shape": "hv", "dash": "dash" if column == "keep" else "solid"},
            name=name,
        )
    figure.update_yaxes(range=[0, 1.02])
    return _titled(figure, "What the ranking is worth", "Probability, share")


def _of_certified(found: Audit) -> go.Figure:
    figure = go.Figure()
    table = found.over_time
    # Logarithmic would hide zero, so linear.
    figure.add_scatter(
        x=table["number"],
        y=table["rate_at_most"],
        mode="lines",
        line={"color": KEPT, "shape": "hv"},
        name=f"at most ({found.confidence:.0%} confidence)",
    )
    figure.add_scatter(
        x=table["number"],
        y=[found.tolerance] * len(table),
        mode="lines",
        line={"color": PRUNED, "dash": "dash"},
        name="tolerated",
    )
    surprises = table[table["condemned"] & table["good"].eq(True)]
    figure.add_scatter(
        x=surprises["number"],
        y=surprises["rate_at_most"],
        mode="markers",
        marker={"symbol": "x", "color": PRUNED, "size": 9},
        name=f"good though condemned ({len(surprises)})",
    )
    return _titled(figure, "Good trials lost", "Share of the good trials")


def _titled(figure: go.Figure, title: str, y: str) -> go.Figure:
    return figure.update_layout(
        title=title,
        xaxis_title="Trial",
        yaxis_title=y,
        yaxis_tickformat=".1%",
        legend=BELOW,
    )
