"""Probe a network over two of its arguments: where does it train?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import pandas as pd
import torch
from torch import nn

from recent_prune.probe import ProbeResult, probe_many
from recent_prune.probe.batches.calling import Call
from recent_prune.probe.batches.inputs import Inputs
from recent_prune.probe.probing import Estimator
from recent_prune.probe.restoring.devices import has_random_state
from recent_prune.probe.restoring.isolation import forked_random_states
from recent_prune.rules import SUMMARY, Rule, TrainabilityRule

LOGARITHMIC_FROM = 20
"""Ratio of the ends from which an axis is logarithmic by default."""

COLUMNS = (*(name for name in SUMMARY if name != "depth"), "layers", "error")
"""Of a map, besides its two arguments."""


@dataclass(frozen=True)
class Axis:
    """One of two arguments that a network is mapped over.

    Attributes:
        name: Of the factory's argument.
        values: That it takes, in ascending order.

    Raises:
        ValueError: If there are fewer than two values, or they do not ascend.
    """

    name: str
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        ascending = all(a < b for a, b in zip(self.values, self.values[1:], strict=False))
        if len(self.values) < 2 or not ascending:
            raise ValueError(
                f"`values` of {self.name} must be at least two and ascend, but got {self.values}."
            )

    @classmethod
    def between(
        cls, name: str, low: float, high: float, steps: int = 16, *, log: bool | None = None
    ) -> Self:
        """Equally spaced values; whole ones if both ends are.

        Args:
            name: Of the factory's argument.
            low: First value.
            high: Last value.
            steps: Number of values; fewer if whole values fall together.
            log: Whether they are spaced on a logarithmic scale. Default: if both ends are positive
                and their ratio is 20 or more.

        Raises:
            ValueError: If ``low`` is not below ``high``, ``steps`` is below 2, or a logarithmic
                axis does not begin above 0.
        """
        if not low < high:
            raise ValueError(f"`low` of {name} must be below `high`, but got {low} and {high}.")
        if steps < 2:
            raise ValueError(f"`steps` of {name} must be at least 2, but got {steps}.")
        if log and low <= 0:
            raise ValueError(f"`low` of {name} must be positive on a log axis, but got {low}.")
        if log is None:
            log = low > 0 and high / low >= LOGARITHMIC_FROM
        shares = [i / (steps - 1) for i in range(steps)]
        if log:
            spaced = [low * (high / low) ** share for share in shares]
        else:
            spaced = [low + (high - low) * share for share in shares]
        if isinstance(low, int) and isinstance(high, int):
            return cls(name, tuple(sorted({round(value) for value in spaced})))
        # As short as tells them apart.
        for digits in (6, 9, 12, 17):
            between = [float(f"{value:.{digits}g}") for value in spaced[1:-1]]
            if all(a < b for a, b in pairwise([low, *between, high])):
                break
        return cls(name, (low, *between, high))


def trainability_map(
    factory: Callable[..., nn.Module],
    x: Axis,
    y: Axis,
    inputs: Inputs,
    *,
    arguments: Mapping[str, Any] | None = None,
    call: Call | None = None,
    rule: Rule | None = None,
    estimator: Estimator = "ridge",
    device: str | torch.device = "cpu",
    seed: int = 0,
    progress: bool | None = None,
) -> pd.DataFrame:
    """Probe the networks that a factory makes over a grid of two of its arguments.

    Networks of one architecture are probed together, see :func:`recent_prune.probe.probe_many`.

    Args:
        factory: From keyword arguments to a module at its initialization. Random states are seeded
            for each network, and restored.
        x: The first argument.
        y: The second argument.
        inputs: As in :func:`recent_prune.probe.probe`.
        arguments: The factory's other arguments.
        call: As in :func:`recent_prune.probe.probe`.
        rule: From a result to a verdict. Default: :class:`TrainabilityRule`.
        estimator: As in :func:`recent_prune.probe.probe`.
        device: Where the networks are probed.
        seed: Of the networks and the probes.
        progress: As in :func:`recent_prune.probe.probe_many`.

    Returns:
        A row a network with its two arguments under their names, ``trainable``, ``violation``,
        ``reason`` and ``cause`` (None where it is kept); at the deepest layer ``retained`` (share
        of the input's variance) and ``relative_entropy`` (nats); ``cutoff`` and ``layers`` (number
        of probed layers), ``seconds`` of the probe; and ``error``, what went wrong with this
        network (then all else is missing), or None.

    Raises:
        TypeError: As :func:`recent_prune.probe.probe_many`.
        ValueError: As :func:`recent_prune.probe.probe_many`, or if the axes have the same name,
            that of another column or of one of ``arguments``.
    """
    if x.name == y.name:
        raise ValueError(f"`x` and `y` must be different arguments, but both are {x.name!r}.")
    for axis in (x, y):
        if axis.name in COLUMNS:
            raise ValueError(
                f"An axis of a map cannot be called {axis.name!r}, as one of its other columns is."
            )
        if axis.name in (arguments or {}):
            raise ValueError(f"{axis.name!r} must be an axis or one of `arguments`, but is both.")
    chosen = rule or TrainabilityRule()
    models = _Models(factory, x, y, dict(arguments or {}), torch.device(device), seed)
    results = iter(
        probe_many(models, inputs, estimator=estimator, call=call, seed=seed, progress=progress)
    )
    rows = []
    for place in models.places():
        key = (place[x.name], place[y.name])
        failed = models.failed.get(key)
        rows.append({**place, **_row(failed or next(results), chosen)})
    return pd.DataFrame(rows)


@dataclass
class _Models:
    """The networks, built as they are probed; those that cannot be built are left out."""

    factory: Callable[..., nn.Module]
    x: Axis
    y: Axis
    arguments: dict[str, Any]
    device: torch.device
    seed: int

    def __post_init__(self) -> None:
        self.failed: dict[tuple[float, float], Exception] = {}

    def __len__(self) -> int:
        return len(self.x.values) * len(self.y.values)

    def places(self) -> Iterator[dict[str, float]]:
        for y in self.y.values:
            for x in self.x.values:
                yield {self.x.name: x, self.y.name: y}

    def __iter__(self) -> Iterator[nn.Module]:
        for place in self.places():
            try:
                known = {**self.arguments, **place}
                model = seeded(self.factory, known, self.seed, self.device).to(self.device)
            except Exception as error:
                self.failed[place[self.x.name], place[self.y.name]] = error
            else:
                yield model


def seeded(
    factory: Callable[..., nn.Module],
    arguments: Mapping[str, Any],
    seed: int,
    device: torch.device | None = None,
) -> nn.Module:
    """What a factory makes, from a seed of all random states, which are restored.

    Args:
        factory: From keyword arguments to a module.
        arguments: Its arguments.
        seed: Of Python, NumPy and PyTorch, on the CPU and on the device.
        device: Where it may draw numbers besides the CPU.

    Raises:
        TypeError: If it makes something else than a module.
    """
    devices = [] if device is None or not has_random_state(device) else [device]
    with forked_random_states(devices, seed):
        model = factory(**arguments)
    if not isinstance(model, nn.Module):
        raise TypeError(f"`factory` must return a module, but got {type(model).__name__}.")
    return model


def _row(result: ProbeResult | Exception, rule: Rule) -> dict[str, Any]:
    if isinstance(result, Exception):
        return {"error": f"{type(result).__name__}: {result}"}
    verdict = rule(result)
    return {
        "trainable": verdict.trainable,
        "violation": verdict.violation,
        "reason": verdict.reason,
        "cause": None if verdict.cause is None else str(verdict.cause),
        "retained": result.retained[-1],
        "relative_entropy": result.relative_entropy[-1],
        "cutoff": result.cutoff,
        "layers": result.depth,
        "seconds": result.seconds,
        "error": None,
    }
