"""Data that several tests use."""

from __future__ import annotations

import gc
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Generator, Iterator
from contextlib import nullcontext
from pathlib import Path

import hypothesis
import numpy as np
import numpy.typing as npt
import optuna
import pytest
import sqlalchemy
import torch
from torch import Tensor
from xdist.remote import Producer

from recent_prune.data import load_digits, load_mnist
from tests.processes import do_not_wait_for_the_disk
from tests.ray.time_limit import LIMIT_S, time_limit
from tests.scheduling import Scheduling, has_ray, order

# Ray gives way to all else (15), and the tests in the other process would keep it waiting.
os.environ.setdefault("RAY_worker_niceness", "0")

# Timings on shared machines are no property of the code.
hypothesis.settings.register_profile("default", deadline=None, derandomize=True, max_examples=10)
hypothesis.settings.register_profile("thorough", deadline=None, derandomize=True, max_examples=30)
hypothesis.settings.load_profile("default")

Reference = dict[str, npt.NDArray[np.float64]]
HERE = Path(__file__).parent


def pytest_configure() -> None:
    # A shell that starts the tests in the background has them ignored, and so would all children.
    ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    if ignored and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    return Scheduling(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    # Half a million objects that stay; to look through them again and again takes minutes in all.
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    limit = LIMIT_S if item.get_closest_marker("slow") is None else 2 * LIMIT_S
    with time_limit(limit) if has_ray(item.nodeid) else nullcontext():
        return (yield)


pytest_runtest_setup = pytest_runtest_teardown = pytest_runtest_call


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: order(item.nodeid))


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    # Small matrices: threads cost more than they bring, and xdist runs several processes.
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _quiet_optuna() -> Iterator[None]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(optuna.logging.INFO)


@pytest.fixture(autouse=True, scope="session")
def _quick_sqlite() -> None:
    do_not_wait_for_the_disk()


@pytest.fixture(scope="session")
def _one_browser() -> Iterator[None]:
    from tests.browser import one_browser  # few tests need it, and it brings a lot

    with one_browser():
        yield


@pytest.fixture(scope="session")
def reference() -> Reference:
    """Numbers of the authors' code, see tests/reference/README.md."""
    with np.load(HERE / "reference" / "authors_reference.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def digits() -> Tensor:
    """Handwritten digits [1438, 1, 8, 8] in [0, 1]."""
    return load_digits().train


@pytest.fixture(scope="session")
def mnist() -> Tensor:
    """MNIST's training images, where they lie on this machine."""
    shared = HERE.parent.parent / "shared" / "data"
    root = Path(os.environ.get("RECENT_PRUNE_DATA", shared))
    if not (root / "MNIST" / "raw").is_dir():
        pytest.skip(f"no MNIST in {root}")
    return load_mnist(root).train


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URL of a PostgreSQL server of our own, where Debian's package is installed."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not binaries:
        pytest.skip("PostgreSQL is not installed")
    # PostgreSQL refuses to run as root.
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if as_user:
        shutil.chown(folder, "postgres")

    def run(program: str, *arguments: str) -> None:
        command = [*as_user, str(binaries[-1] / program), "-D", str(folder / "data"), *arguments]
        subprocess.run(command, check=True, capture_output=True, timeout=60, cwd=folder)

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    run("initdb", "-U", "tester", "-A", "trust")
    options = f"-h 127.0.0.1 -p {port} -k {folder} -c fsync=off"
    run("pg_ctl", "start", "-w", "-o", options, "-l", str(folder / "log"))
    try:
        yield f"postgresql+psycopg2://tester@127.0.0.1:{port}"
    finally:
        run("pg_ctl", "stop", "-w", "-m", "immediate")
        shutil.rmtree(folder, ignore_errors=True)


_databases = itertools.count()


@pytest.fixture
def postgresql(postgresql_server: str) -> str:
    """The URL of an empty database on that server."""
    name = f"test{next(_databases)}"
    engine = sqlalchemy.create_engine(f"{postgresql_server}/postgres", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return f"{postgresql_server}/{name}"
