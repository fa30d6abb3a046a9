"""A cluster on one machine: a head where no trial runs, and lanes of two nodes that may die."""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections.abc import Iterator
from typing import Any

import ray
from ray.cluster_utils import Cluster

OBJECT_STORE_BYTES = 100 * 2**20
COMMON = {"object_store_memory": OBJECT_STORE_BYTES, "include_log_monitor": False}
QUIET = {
    "prestart_worker_first_driver": False,
    "task_events_report_interval_ms": 0,
    "enable_metrics_collection": False,
}
"""Neither workers in advance nor bookkeeping, which take more than the sweeps themselves."""

NODES = 2
SLOTS = 2
"""Trials that a node runs at a time."""

OF_A_NODE = 10 * SLOTS + 5
"""Of a lane's resource: a trial takes 10, a probe actor 1."""

READY_S = 180.0


class Lane:
    """Nodes of which one sweep at a time has the use, by a resource of that name.

    Args:
        cluster: To which they belong.
        name: Of the lane.
    """

    def __init__(self, cluster: Cluster, name: str) -> None:
        self._cluster = cluster
        self.name = name
        self.address: str = cluster.address
        self._nodes: list[Any] = []
        self._waits_since: float | None = None
        self._renewed = False

    def add(self) -> None:
        """One node more, which comes up by and by; where it does not in 30 s, Ray gives up."""
        resources = {self.name: OF_A_NODE}
        try:
            node = self._cluster.add_node(wait=False, num_cpus=SLOTS, resources=resources, **COMMON)
        except Exception as error:
            if "timed out during startup" not in str(error):
                raise
        else:
            self._nodes.append(node)

    def kill(self, numbers: random.Random) -> None:
        """End one of the nodes, as if its plug were pulled; none where none has come up."""
        if not self._nodes:
            return
        node = self._nodes.pop(numbers.randrange(len(self._nodes)))
        self._cluster.remove_node(node, allow_graceful=False)

    def is_free(self) -> bool:
        """Whether all nodes are there and nothing is held of them; else it gets new ones in time.

        Raises:
            TimeoutError: If new nodes do not come either.
        """
        if len(self._nodes) < NODES:
            self.add()
        if ray.available_resources().get(self.name) == NODES * OF_A_NODE:
            self._waits_since, self._renewed = None, False
            return True
        self._waits_since = self._waits_since or time.monotonic()
        waited = time.monotonic() - self._waits_since
        if waited > 2 * READY_S:
            raise TimeoutError(f"the nodes of {self.name} are not free after {waited:.0f} s")
        if waited > READY_S and not self._renewed:
            self._renewed = True
            while self._nodes:
                self.kill(random.Random(0))
        return False


@contextlib.contextmanager
def lanes(count: int) -> Iterator[list[Lane]]:
    """A cluster with so many lanes, which this process joins."""
    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 0,
            "include_dashboard": False,
            "_system_config": QUIET,
            **COMMON,
        },
    )
    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield [Lane(cluster, f"lane{number}") for number in range(count)]
    finally:
        ray.shutdown()
        cluster.shutdown()
