"""What the package gives, and what it loads for that."""

from __future__ import annotations

import subprocess
import sys

import pytest

import recent_prune.ray


def run(code: str) -> str:
    """What a new process prints."""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return ran.stdout.strip()


def test_all_that_it_names_is_there() -> None:
    for name in recent_prune.ray.__all__:
        assert getattr(recent_prune.ray, name).__name__ == name


def test_what_it_does_not_name_is_not() -> None:
    with pytest.raises(AttributeError, match=r"'recent_prune\.ray' has no attribute 'nothing'"):
        _ = recent_prune.ray.nothing


def test_a_probe_actor_does_not_wait_for_tune() -> None:
    heavy = ("ray.tune", "pandas", "pyarrow", "optuna", "scipy.stats")
    code = f"import recent_prune.ray.pool, sys; print([m for m in {heavy} if m in sys.modules])"
    assert run(code) == "[]"


def test_without_tune_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['ray.tune'] = None\n"
        "try: from recent_prune.ray import audit\n"
        "except ImportError as error: print(error)"
    )
    assert run(code) == "recent_prune.ray needs Ray Tune: pip install 'recent-prune[ray]'"
