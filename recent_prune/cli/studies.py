"""Studies and Tune runs named on a command line."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from recent_prune.cli.console import without_password

if TYPE_CHECKING:  # an extra
    from ray.tune import ResultGrid

logger = logging.getLogger(__name__)
FORMS = (
    "STORAGE is a URL such as sqlite:///study.db, the file of a journal or the folder of a Tune run"
)


def load(
    storage: str, name: str | None, metric: str | None = None
) -> tuple[str, optuna.Study | ResultGrid]:
    """A study of a storage, or a Tune run in its folder, with its name.

    Args:
        storage: A URL of Optuna's, the file of a journal, or a folder.
        name: Of the study; None where the storage has but one, and of a Tune run.
        metric: Of a Tune run: what its trials report, shown as their value.

    Raises:
        ValueError: If it cannot be read, or there is no study of that name; then with those that
            there are.
        ImportError: If Ray is needed and missing.
    """
    if Path(storage).is_dir():
        if name is not None:
            raise ValueError(f"{storage} is a folder, so a Tune run: leave out STUDY {name}")
        return Path(storage).resolve().name, _tune_run(Path(storage), metric)
    if metric is not None:
        raise ValueError(f"--metric is of Tune runs, but there is no folder {storage}")
    study = _study(storage, name)
    logger.info("%s: %d trials", study.study_name, len(study.get_trials(deepcopy=False)))
    return study.study_name, study


def _study(storage: str, name: str | None) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    shown = without_password(storage)
    try:
        opened = _opened(storage)
        names = optuna.get_all_study_names(opened)
    except Exception as error:
        reason = [*str(error).strip().splitlines(), type(error).__name__][0]
        if isinstance(error, ArgumentError):  # no URL, or one of no database that is known
            reason = f"{reason}. {FORMS}"
        raise ValueError(
            f"STORAGE {shown} cannot be read: {without_password(storage, reason)}"
        ) from error
    known = ", ".join(sorted(names)[:20]) or "no studies"
    if name is None and len(names) != 1:
        raise ValueError(f"STUDY must be named; {shown} has: {known}")
    if name is not None and name not in names:
        raise ValueError(f"STUDY {name} is not in {shown}, which has: {known}")
    return optuna.load_study(study_name=name or names[0], storage=opened)


def _opened(storage: str) -> str | BaseStorage:
    """What Optuna reads; SQLite would make an empty database of a misspelt one."""
    if "://" not in storage:
        return _journal(Path(storage))
    url = make_url(storage)
    if url.get_backend_name() == "sqlite" and url.database and not Path(url.database).is_file():
        raise FileNotFoundError(f"there is no file {url.database}")
    return storage


def _journal(path: Path) -> BaseStorage:
    if not path.is_file():
        raise FileNotFoundError(f"there is no such file. {FORMS}")
    with path.open("rb") as file:
        begin = file.read(6)
    if begin.startswith(b"{"):
        return JournalStorage(JournalFileBackend(str(path)))
    if begin == b"SQLite":
        raise ValueError(f"did you mean sqlite:///{path}?")
    raise ValueError(f"that file is no journal. {FORMS}")


def _tune_run(folder: Path, metric: str | None) -> ResultGrid:
    try:
        from recent_prune.ray.experiments import loaded
    except ImportError as error:
        raise ImportError(
            f"{folder} is a folder, so a Tune run, and needs Ray: pip install 'recent-prune[ray]'"
        ) from error
    # It warns of each trial that was never started, of which this package makes many.
    logging.getLogger("ray.tune.analysis.experiment_analysis").setLevel(logging.ERROR)
    found = loaded(folder, metric)
    logger.info("%s: %d trials", folder, len(found))
    return found
