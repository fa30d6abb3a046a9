"""What the nodes of a cluster hold, where a limit is "what there is" and they are unlike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from recent_prune.preflight import Limits
from recent_prune.rules.preflight import size

MOST_GIB = {
    "P4": 8,
    "K80": 12,
    "P100": 16,
    "T4": 16,
    "L4": 24,
    "A10G": 24,
    "V100": 32,
    "A100-40G": 40,
    "L40S": 48,
    "A100": 80,
    "A100-80G": 80,
    "H100": 96,
    "H20": 144,
    "H200": 144,
    "B200": 192,
}
"""Memory of NVIDIA's accelerators by Ray's names (data sheets). Of those that come with more than
one, the most: what is too large for that fits none."""

_TYPE = "accelerator_type:"

ALIKE = 0.9
"""Nodes whose memory differs by less are of one kind: Ray takes what was free as it started."""


def of_cluster(limits: Limits, device: str, nodes: Sequence[Mapping[str, Any]]) -> Limits:
    """Limits by kind of node, where the memory that is meant is that of "the device".

    A probe actor knows its own node's; where there are others, a trial may fit one of them. On CPUs
    what Ray may give to workers there counts, on accelerators their type. Where a type is not known
    there is no limit.

    Args:
        limits: As the user gave them.
        device: That trials are probed on.
        nodes: As of ``ray.nodes()``.
    """
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    if limits.memory != "device":
        return limits
    if device == "cpu":
        kinds = {f"nodes of {size(most)}": most for most in _unlike(_memories(alive))}
        return replace(limits, memory=kinds) if len(kinds) > 1 else limits
    types = {name.removeprefix(_TYPE) for r in alive for name in r if name.startswith(_TYPE)}
    if len(types) < 2:
        return limits
    if not types <= MOST_GIB.keys():
        return replace(limits, memory=None)
    return replace(limits, memory={kind: MOST_GIB[kind] * 2.0**30 for kind in types})


def _memories(alive: Sequence[Mapping[str, float]]) -> Iterator[float]:
    return (node["memory"] for node in alive if node.get("memory") and node.get("CPU"))


def _unlike(sizes: Iterator[float]) -> Iterator[float]:
    """The largest of each kind, from the largest on."""
    kind = float("inf")
    for most in sorted(sizes, reverse=True):
        if most < ALIKE * kind:
            kind = most
            yield kind
