"""Studies named on a command line."""

from __future__ import annotations

from pathlib import Path

import optuna
from sqlalchemy.engine import make_url

from recent_prune.cli.console import without_password


def load_study(storage: str, name: str) -> optuna.Study:
    """The study of a name in a storage.

    Raises:
        ValueError: If the storage cannot be reached, or has no study of that name; then with those
            that it has.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    shown = without_password(storage)
    try:
        _check_file(storage)
        names = optuna.get_all_study_names(storage)
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise ValueError(
            f"STORAGE {shown} cannot be read: {reason[0] if reason else type(error).__name__}"
        ) from error
    if name not in names:
        known = ", ".join(sorted(names)[:20]) or "no studies"
        raise ValueError(f"STUDY {name} is not in {shown}, which has: {known}")
    return optuna.load_study(study_name=name, storage=storage)


def _check_file(storage: str) -> None:
    """SQLite would make an empty database of a misspelt one."""
    url = make_url(storage)
    if url.get_backend_name() == "sqlite" and url.database and not Path(url.database).is_file():
        raise FileNotFoundError(f"there is no file {url.database}")
