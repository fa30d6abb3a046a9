from __future__ import annotations

import pytest

from recent_prune.ray.limits import PoolLimits


def limits(**resources: float) -> PoolLimits:
    return PoolLimits(1, resources, batch_size=16, timeout_s=1, start_timeout_s=1, idle_s=1)


@pytest.mark.parametrize(
    ("resources", "accelerated"),
    [
        ({"CPU": 1.0}, False),
        ({"GPU": 0.25}, True),
        ({"GPU": 0.0}, False),
        ({"NPU": 1.0}, True),
        ({"slots": 1.0}, False),
    ],
)
def test_which_resources_are_accelerators(resources: dict[str, float], accelerated: bool) -> None:
    assert limits(**resources).accelerated is accelerated


def test_options_are_those_of_an_actor() -> None:
    assert limits(CPU=1, GPU=0.5, memory=100.0, slots=2).options == {
        "num_cpus": 1,
        "num_gpus": 0.5,
        "memory": 100.0,
        "resources": {"slots": 2},
        "max_restarts": 0,
    }
