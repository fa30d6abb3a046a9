from __future__ import annotations

import optuna
import pytest

from recent_prune.optuna import attributes, audit
from recent_prune.report import StudyReport, plot_audit
from recent_prune.report.audit_figure import audit_figures
from tests.optuna.certified_study import create, objective
from tests.optuna.ranked_study import ranked_study


def test_shows_bound_and_tolerance() -> None:
    study = create()
    study.optimize(objective, n_trials=100)
    figure = plot_audit(study)
    bound, tolerated, surprises = figure.data
    run = [trial.number for trial in study.trials if not attributes.carries_fit(trial)]
    assert list(bound.x) == run
    assert list(bound.y) == audit(study).over_time["rate_at_most"].tolist()
    assert set(tolerated.y) == {0.2}
    assert surprises.mode == "markers"
    assert figure.layout.xaxis.title.text == "Trial"
    assert plot_audit(audit(study)) == figure


def test_shows_what_a_ranking_is_worth() -> None:
    study = ranked_study()
    figure = plot_audit(study)
    concordance, keep = figure.data
    over_time = audit(study).over_time
    assert list(concordance.x) == over_time["number"].tolist()
    assert concordance.y[-1] == over_time["concordance"].iloc[-1] > 0.5
    assert list(keep.y) == over_time["keep"].tolist()
    (shown, caption), *rest = audit_figures(study)
    assert shown == figure
    assert not rest
    assert caption.startswith("Whether trainings whose candidates had a better score end better")
    assert "What the ranking is worth" in StudyReport.of(study).page()


def test_a_study_under_another_rule_warns() -> None:
    study = optuna.create_study()
    with pytest.warns(UserWarning, match="has no trials that rung zero ranked"):
        assert len(plot_audit(study).data) == 0
    assert audit_figures(study) == []
