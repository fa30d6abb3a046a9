"""A small Ray for the tests of this folder: it takes seconds to start."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from recent_prune.data import load_digits
from tests.ray.first_steps import Batches
from tests.ray.session import start_ray

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            # Ray leaves sockets and files to the garbage collector, and advises PBT's users.
            item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore:Consider boosting PBT"))


def collect() -> None:
    """Collect Tune's open files and Ray's processes here, not in whatever test comes next."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="package")
def _ray_ends() -> Iterator[None]:
    yield
    ray.shutdown()
    collect()


@pytest.fixture(scope="module")
def local_ray(_ray_ends: None) -> None:
    """One for all modules, unless one of them had to have its own meanwhile."""
    start_ray()


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    yield
    collect()


@pytest.fixture(scope="module")
def batches() -> Batches:
    """Digits and their labels."""
    digits = load_digits()
    return digits.train, digits.train_labels
