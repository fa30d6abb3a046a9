"""What the nodes of a cluster hold."""

from __future__ import annotations

from typing import Any

import pytest

import recent_prune as rp
from recent_prune.ray.nodes import MOST_GIB, of_cluster

GIB = 2**30


def node(*, alive: bool = True, **resources: float) -> dict[str, Any]:
    """As `ray.nodes()` tells of it."""
    return {"Alive": alive, "Resources": {"CPU": 8.0, "node:10.0.0.1": 1.0, **resources}}


def with_gpu(kind: str) -> dict[str, Any]:
    known = node(GPU=1.0, memory=100.0 * GIB)
    known["Resources"][f"accelerator_type:{kind}"] = 1.0
    return known


def test_of_unlike_nodes_each_kind_is_a_limit() -> None:
    nodes = [node(memory=16.0 * GIB), node(memory=61.0 * GIB), node(memory=60.0 * GIB)]
    limits = of_cluster(rp.Limits(seconds=60.0), "cpu", nodes)
    assert limits.kinds == {"nodes of 16 GiB": 16 * GIB, "nodes of 61 GiB": 61 * GIB}
    assert limits.seconds == 60


@pytest.mark.parametrize(
    "others",
    [
        [node(memory=15.0 * GIB)],
        [node(memory=64.0 * GIB, alive=False)],
        [node(memory=64.0 * GIB, CPU=0.0)],
        [node()],
    ],
)
def test_where_they_are_alike_it_is_that_of_the_probe_actors_own(others: list[Any]) -> None:
    nodes = [node(memory=16.0 * GIB), *others]
    assert of_cluster(rp.Limits(), "cpu", nodes) == rp.Limits()


def test_of_accelerators_their_type_tells() -> None:
    limits = of_cluster(rp.Limits(), "cuda", [with_gpu("T4"), with_gpu("A100"), node()])
    assert limits.kinds == {"T4": MOST_GIB["T4"] * GIB, "A100": 80 * GIB}
    assert of_cluster(rp.Limits(), "cuda", [with_gpu("T4"), node(memory=GIB)]) == rp.Limits()


def test_an_unknown_type_condemns_nobody() -> None:
    limits = of_cluster(rp.Limits(), "cuda", [with_gpu("T4"), with_gpu("Mine")])
    assert limits.memory is None


@pytest.mark.parametrize("memory", [8e9, {"a": 1e9, "b": 2e9}, None])
def test_what_was_given_stays(memory: Any) -> None:
    nodes = [node(memory=16.0 * GIB), node(memory=64.0 * GIB)]
    given = rp.Limits(memory=memory)
    assert of_cluster(given, "cpu", nodes) is given
