"""Figures and pages about a study (plotly, pandas)."""

from recent_prune.report.audit_figure import plot_audit
from recent_prune.report.dashboard import DashboardCallback, save_to_dashboard
from recent_prune.report.figures import (
    plot_entropy_profile,
    plot_saved_compute,
    plot_verdicts,
)
from recent_prune.report.images import plot_reconstructions
from recent_prune.report.maps import plot_trainability_map
from recent_prune.report.memory import plot_memory
from recent_prune.report.page import html_page
from recent_prune.report.study_report import StudyReport
from recent_prune.report.trials import trials_table

__all__ = [
    "DashboardCallback",
    "StudyReport",
    "html_page",
    "plot_audit",
    "plot_entropy_profile",
    "plot_memory",
    "plot_reconstructions",
    "plot_saved_compute",
    "plot_trainability_map",
    "plot_verdicts",
    "save_to_dashboard",
    "trials_table",
]
