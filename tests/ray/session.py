"""A Ray of our own."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import ray


def start_ray() -> None:
    """Start a small Ray, never one that runs already elsewhere, unless this process has one."""
    if not ray.is_initialized():
        ray.init(
            "local",
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )


@contextmanager
def local_ray_session() -> Iterator[None]:
    """A small Ray, and none behind it."""
    start_ray()
    try:
        yield
    finally:
        ray.shutdown()
