from __future__ import annotations

import optuna
import pytest
from optuna.trial import TrialState

from recent_prune.optuna import attributes
from recent_prune.report import trials_table
from recent_prune.report.trials import losses
from tests.optuna.studies import condemned, failing, run


def test_one_row_a_finished_trial() -> None:
    study = run(8)
    study.ask()
    failed = study.ask()
    study.tell(failed, state=TrialState.FAIL)
    table = trials_table(study)
    assert table["number"].tolist() == list(range(8))
    dead = [t.number for t in condemned(study)]
    assert table[table["trainable"] == False]["number"].tolist() == dead  # noqa: E712
    assert table["epochs"].tolist() == [0 if n in dead else 3 for n in range(8)]
    assert table["value"].isna().tolist() == [n in dead for n in range(8)]
    for trial, row in zip(study.trials, table.to_dict("records"), strict=False):
        assert row["param:depth"] == trial.params["depth"]
        assert row["retained"] == trial.user_attrs[attributes.RETAINED]
        assert row["probe_seconds"] < row["seconds"]


def test_trials_without_a_probe_have_no_verdict() -> None:
    study = optuna.create_study()
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    table = trials_table(study)
    assert table["trainable"].isna().all()
    assert table["retained"].isna().all()


def test_what_could_not_be_judged_has_no_verdict() -> None:
    study = optuna.create_study()
    study.optimize(failing, n_trials=1)
    (row,) = trials_table(study).to_dict("records")
    assert row["fault"] == study.trials[0].user_attrs[attributes.FAULT]
    assert row["trainable"] is None
    assert row["reason"] is None
    assert row["probe_seconds"] == study.trials[0].user_attrs[attributes.SECONDS]


@pytest.mark.parametrize(
    ("known", "told"),
    [
        ((2.3, 46.0, 2.3), "1 → 20 times that of a constant prediction"),
        ((2.3, None, 2.3), "1 → not finite times that of a constant prediction"),
        ((2.3, 1.15, float("nan")), "2.3 → 1.15"),
        ((0.5, 0.25, -1.0), "0.5 → 0.25"),
        ((None, None, None), None),
        ((float("nan"),) * 3, None),
    ],
)
def test_losses_are_told_in_units_of_a_constant_prediction(
    known: tuple[float | None, float | None, float | None], told: str | None
) -> None:
    assert losses(*known) == told


def test_an_empty_study_gives_an_empty_table_with_all_columns() -> None:
    empty, full = trials_table(optuna.create_study()), trials_table(run(1))
    assert empty.empty
    assert list(empty) == [c for c in full if not str(c).startswith("param:")]
