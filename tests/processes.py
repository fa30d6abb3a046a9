"""Processes for tests: they are forked from one that has imported what they run."""

from __future__ import annotations

import multiprocessing
import sqlite3
from typing import Any

import sqlalchemy

FORKED = multiprocessing.get_context("forkserver")
"""An import of PyTorch, Optuna, Lightning and this package takes seconds; a test starts eight."""
FORKED.set_forkserver_preload(
    ["tests.optuna.studies", "tests.optuna.certified_study", "tests.lightning.modules"]
)


def do_not_wait_for_the_disk() -> None:
    """SQLite would, at each of thousands of commits, for the case that the power fails."""
    sqlalchemy.event.listen(sqlalchemy.Engine, "connect", _connected)


def _connected(connection: Any, _: object) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous=OFF")
