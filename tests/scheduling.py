"""Which process of pytest-xdist gets which tests."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

WITH_RAY = ("tests/ray/", "tests/benchmarks/test_compute_saved_tune.py", "tests/test_docs.py")
"""Start a Ray, which takes both cores: one after the other in one process, and before others."""


def has_ray(nodeid: str) -> bool:
    """Whether a test may start a Ray."""
    return nodeid.startswith(WITH_RAY)


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
    """A file goes to one process, as what its tests share is expensive; so do all with Ray."""

    def _split_scope(self, nodeid: str) -> str:
        return "ray" if has_ray(nodeid) else nodeid.partition("::")[0]
