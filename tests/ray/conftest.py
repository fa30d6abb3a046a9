"""A small Ray for the tests of a module."""

from __future__ import annotations

import gc
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            # One Ray a group: each takes seconds to start, and its memory.
            real = item.path.stem in ("test_cluster", "test_pool")
            item.add_marker(pytest.mark.xdist_group("ray" if real else "simulated"))
            # Ray leaves sockets and files to the garbage collector, and advises PBT's users.
            item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore:Consider boosting PBT"))


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    ray.init(
        "local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    yield
    ray.shutdown()


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """Collect Tune's open files here, not in whatever test comes next."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
