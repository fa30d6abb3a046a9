"""Which process of pytest-xdist gets which tests, and in what order."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

WITH_RAY = (
    "tests/ray/",
    "tests/benchmarks/faults/test_ray_sweeps.py",
    "tests/benchmarks/test_compute_saved_tune.py",
    "tests/docs/test_ray_page.py",
)
"""Start a Ray, which takes both cores: one after the other in one process, and before others."""

LONG = ("tests/docs/", "tests/studies/", "tests/optuna/", "tests/benchmarks/")
"""Hold the files that take longest: no process is to begin one when the other has nothing left."""


def has_ray(nodeid: str) -> bool:
    """Whether a test may start a Ray."""
    return nodeid.startswith(WITH_RAY)


def order(nodeid: str) -> int:
    """Of a test, the lower the earlier."""
    return 0 if has_ray(nodeid) else 1 if nodeid.startswith(LONG) else 2


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
    """A file goes to one process, as what its tests share is expensive; so do all with Ray."""

    def _split_scope(self, nodeid: str) -> str:
        return "ray" if has_ray(nodeid) else nodeid.partition("::")[0]
