from __future__ import annotations

import optuna
import pytest
from optuna.study import Study
from optuna.trial import TrialState

from recent_prune.data import load_digits
from recent_prune.demo import Settings, run_pruned, run_reference, summary_page, summary_table
from recent_prune.demo.studies import SOURCE
from recent_prune.demo.summary import Totals
from recent_prune.optuna import attributes

SETTINGS = Settings("digits", 256, epochs=2, sampler="random", seed=0)


@pytest.fixture(scope="module")
def studies() -> tuple[Study, Study]:
    images = load_digits().head(256, 100)
    storage = optuna.storages.InMemoryStorage()
    study = run_pruned(storage, "demo", SETTINGS, images, 6, lambda _: None)
    return study, run_reference(storage, "reference", SETTINGS, images, study, lambda _: None)


def test_totals_are_those_of_the_trials(studies: tuple[Study, Study]) -> None:
    study, reference = studies
    totals, full = Totals.of(study), Totals.of(reference)
    assert totals.trials == full.trials == 6
    assert totals.pruned > full.pruned == 0
    assert sum(totals.causes.values()) == totals.pruned
    assert full.causes == {}
    assert totals.epochs == 2 * (6 - totals.pruned)
    assert full.epochs == 12
    assert totals.best == study.best_value <= full.best
    assert full.probe_seconds == 0
    spent = [t.user_attrs[attributes.SECONDS] for t in study.trials]
    assert totals.probe_seconds == pytest.approx(sum(spent))


def test_table_and_page_show_what_was_saved(studies: tuple[Study, Study]) -> None:
    study, reference = studies
    table = summary_table(study, reference)
    pruned = Totals.of(study).pruned
    assert list(table) == ["with recent_prune", "without", "saved"]
    assert table.loc["epochs", "saved"] == f"{2 * pruned} ({pruned / 6:.1%})"
    dead = [t.number for t in study.trials if t.state == TrialState.PRUNED]
    best = max(t.value or 0 for t in reference.trials if t.user_attrs[SOURCE] in dead)
    assert table.loc["pruned", "saved"] == f"their best: {best:.4f}"
    causes = set(Totals.of(study).causes)
    assert {part.split()[0] for part in str(table.iloc[2, 0]).split(", ")} == causes
    page = summary_page(study, reference, SETTINGS)
    assert str(table.loc["epochs", "saved"]) in page
    assert page.count('class="plot" ') == 3


def test_a_study_without_a_complete_trial_claims_nothing(studies: tuple[Study, Study]) -> None:
    table = summary_table(optuna.create_study(), studies[1])
    assert table.loc["best test accuracy", "with recent_prune"] == "–"
    assert table.loc["best test accuracy", "saved"] == "all pruned"


def test_without_a_comparison_nothing_is_claimed(studies: tuple[Study, Study]) -> None:
    study, _ = studies
    assert list(summary_table(study, None)) == ["with recent_prune"]
    page = summary_page(study, None, SETTINGS)
    assert "saved" not in page.split("</table>")[0]
    assert page.count('class="plot" ') == 2
