from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from recent_prune.cli.studies import load


def test_the_file_of_a_journal_is_read(tmp_path: Path) -> None:
    path = tmp_path / "study.log"
    made = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(path))), study_name="mine"
    )
    made.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    name, study = load(str(path), None)
    assert name == "mine"
    assert isinstance(study, optuna.Study)
    assert len(study.trials) == 2


def test_a_database_without_its_url(tmp_path: Path) -> None:
    path = tmp_path / "many.db"
    optuna.create_study(storage=f"sqlite:///{path}")
    with pytest.raises(ValueError, match=f"cannot be read: did you mean sqlite:///{path}\\?"):
        load(str(path), None)


@pytest.mark.parametrize(
    ("storage", "reason"),
    [
        ("my_study", "there is no such file"),
        ("sqlite:/study.db", "there is no such file"),
        (__file__, "that file is no journal"),
        ("a b://x", "Could not parse SQLAlchemy URL"),
        ("sqlight:///study.db", "Can't load plugin: sqlalchemy.dialects:sqlight"),
    ],
)
def test_what_is_no_storage_is_told_what_one_looks_like(storage: str, reason: str) -> None:
    told = rf"cannot be read: {reason}.* STORAGE is a URL such as sqlite:///study\.db, the file of"
    with pytest.raises(ValueError, match=told):
        load(storage, None)
