"""A Ray of our own."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import ray

ATTEMPTS = 3


@contextmanager
def local_ray_session() -> Iterator[None]:
    """A small Ray, never one that runs already.

    On a busy machine its server may not answer in the half minute that Ray waits for it.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            ray.init(
                "local",
                num_cpus=2,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except RuntimeError:
            ray.shutdown()
            if attempt == ATTEMPTS:
                raise
        else:
            break
    try:
        yield
    finally:
        ray.shutdown()
