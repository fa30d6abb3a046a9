"""Where studies are stored, and how each place is broken for a while."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend

BROKEN_S = 8.0
"""Seconds; SQLite waits five for a lock."""

TMPFS = "256m"


def opened(url: str) -> BaseStorage | str:
    """What `optuna.create_study` takes."""
    kind, _, path = url.partition(":///")
    return JournalStorage(JournalFileBackend(path)) if kind == "journal" else url


class OnFile:
    """SQLite or a journal file in a folder."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.url = f"{kind}:///{folder / 'study'}"
        self._path = folder / "study"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Inside, SQLite's file belongs to another process."""
        connection = sqlite3.connect(self._path, isolation_level=None, timeout=60)
        connection.execute("BEGIN EXCLUSIVE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")
            connection.close()

    def close(self) -> None:
        """Nothing runs."""


class PostgreSQL:
    """A server of its own, of Debian's package."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._bin = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
        # PostgreSQL refuses to run as root.
        self._as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if self._as_user:
            shutil.chown(folder, "postgres")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._run("initdb", "-U", "tester", "-A", "trust", "--wal-segsize=1")
        self.start()
        self.url = f"postgresql+psycopg2://tester@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        """Wait until it answers."""
        options = f"-h 127.0.0.1 -p {self._port} -k {self._folder} -c fsync=off"
        log = str(self._folder / "log")
        self._run("pg_ctl", "start", "-w", "-o", options, "-l", log)

    @contextmanager
    def out_of_reach(self) -> Iterator[None]:
        """Inside, the server is stopped, as if it had crashed."""
        self._run("pg_ctl", "stop", "-m", "immediate")
        try:
            yield
        finally:
            self.start()

    def close(self) -> None:
        """Stop the server."""
        self._run("pg_ctl", "stop", "-m", "immediate", check=False)

    def restart_if_it_crashed(self) -> None:
        """As PostgreSQL does where it cannot write its log."""
        if self._run("pg_ctl", "status", check=False):
            (self._folder / "data" / "postmaster.pid").unlink(missing_ok=True)
            self.start()

    def _run(self, program: str, *arguments: str, check: bool = True) -> int:
        data = ["-D", str(self._folder / "data")]
        command = [*self._as_user, str(self._bin / program), *data, *arguments]
        # Not captured: the server inherits what it is given, and would keep a pipe open.
        done = subprocess.run(
            command, check=check, timeout=120, cwd=self._folder, stdout=subprocess.DEVNULL
        )
        return done.returncode


Place = OnFile | PostgreSQL


@contextmanager
def place(kind: str, *, small: bool) -> Iterator[tuple[Place, Path]]:
    """A place for one study, and its folder.

    Args:
        kind: "postgresql", "sqlite" or "journal".
        small: On a tmpfs of `TMPFS`, which only root may mount.
    """
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    if small:
        options = ["-t", "tmpfs", "-o", f"size={TMPFS}", "tmpfs"]
        subprocess.run(["mount", *options, str(folder)], check=True)
    made: Place | None = None
    try:
        made = PostgreSQL(folder) if kind == "postgresql" else OnFile(kind, folder)
        yield made, folder
    finally:
        if made is not None:
            made.close()
        if small:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def full(where: Place, folder: Path) -> Iterator[None]:
    """Inside, no byte is left where the study is stored."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(2**16))
        except OSError:
            pass
    try:
        yield
    finally:
        ballast.unlink()
        if isinstance(where, PostgreSQL):
            where.restart_if_it_crashed()


def broken(how: str, where: Place, folder: Path) -> None:
    """Break it for a while."""
    if how == "full":
        context = full(where, folder)
    elif isinstance(where, PostgreSQL):
        context = where.out_of_reach()
    else:
        context = where.locked()
    with context:
        time.sleep(BROKEN_S)
