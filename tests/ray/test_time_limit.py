"""A test that hangs fails by itself, and tells where all were."""

from __future__ import annotations

import time
from typing import Any

import pytest
import ray

from tests.ray.time_limit import time_limit

pytestmark = pytest.mark.usefixtures("local_ray")


def test_a_hang_fails_with_the_stacks_of_all(capfd: pytest.CaptureFixture[str]) -> None:
    class Hangs:
        def hang_in_the_worker(self) -> None:
            time.sleep(1000)

    actor: Any = ray.remote(num_cpus=0)(Hangs).remote()
    ray.get(actor.__ray_ready__.remote())
    future = actor.hang_in_the_worker.remote()
    too_long = pytest.raises(pytest.fail.Exception, match=r"It took longer than 2 s; where all")
    with too_long, time_limit(2.0):
        ray.get(future)
    told = capfd.readouterr().err
    assert "in test_a_hang_fails_with_the_stacks_of_all" in told  # this process
    assert "ray::Hangs.hang_in_the_worker" in told
    assert "in hang_in_the_worker" in told


def test_what_is_in_time_goes_on() -> None:
    with time_limit(0.2):
        done = True
    time.sleep(0.5)
    assert done
