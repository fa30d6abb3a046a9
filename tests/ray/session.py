"""A Ray of our own."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray

ATTEMPTS = 3


def start_ray() -> None:
    """Start a small Ray, never one that runs already elsewhere, unless this process has one.

    A Ray that does not come up in 30 s gives up, so on a busy machine it is tried again.
    """
    os.environ["PYTHONFAULTHANDLER"] = "1"  # workers that are aborted tell where each thread was
    for attempt in range(ATTEMPTS):
        if ray.is_initialized():
            return
        try:
            ray.init(
                "local",
                num_cpus=2,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except Exception as error:
            if "timed out during startup" not in str(error) or attempt == ATTEMPTS - 1:
                raise
            ray.shutdown()


@contextmanager
def local_ray_session() -> Iterator[None]:
    """A small Ray, and none behind it."""
    start_ray()
    try:
        yield
    finally:
        ray.shutdown()
