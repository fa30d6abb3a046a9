"""A space's trainings, to be replayed."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from benchmarks.compute_saved.spaces import TRAINED
from recent_prune import ProbeResult

FOLDER = Path(__file__).parent
GOOD = 0.02
"""A configuration is good if its final accuracy is within this of the best of its space."""
LATE = 0.3
"""A late trainer ends good, and is below this after its first epoch."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Trained:
    """Every configuration of a space, trained in full and probed.

    Attributes:
        name: Of the space.
        parameters: Of each configuration, plain Python values.
        accuracy: [configurations, epochs], of the test images.
        loss: Likewise, of the training images.
        seconds: Likewise, so far.
        flops: Likewise, so far.
        gradients: Likewise [configurations, epochs, 3]: root mean squares of the first layer's
            gradient, of the last one's, and the largest.
        probes: Results of the default probe.
        probe_seconds: Of each.
        probe_flops: Of each.
        first_gradients: [configurations, 3], as ``gradients``, of the first batch before any
            update.
        first_seconds: Of that batch.
        first_flops: Of that batch.
    """

    name: str
    parameters: list[dict[str, Any]]
    accuracy: Array
    loss: Array
    seconds: Array
    flops: Array
    gradients: Array
    probes: list[ProbeResult]
    probe_seconds: Array
    probe_flops: Array
    first_gradients: Array
    first_seconds: Array
    first_flops: Array

    def __len__(self) -> int:
        """Number of configurations."""
        return len(self.parameters)

    @property
    def epochs(self) -> int:
        """Of a full training."""
        return int(self.accuracy.shape[1])

    @property
    def final(self) -> Array:
        """Accuracy after the last epoch."""
        return self.accuracy[:, -1]

    @property
    def good(self) -> npt.NDArray[np.bool_]:
        """Which end within `GOOD` of the best."""
        return np.asarray(self.final > self.final.max() - GOOD)

    @property
    def late(self) -> npt.NDArray[np.bool_]:
        """Which are good, and do not look it after an epoch."""
        return np.asarray(self.good & (self.accuracy[:, 0] < LATE))

    @cached_property
    def distributions(self) -> dict[str, BaseDistribution]:
        """What the parameters are drawn from, from the values that were drawn."""
        return {
            name: _distribution([p[name] for p in self.parameters]) for name in self.parameters[0]
        }

    @cached_property
    def positions(self) -> Array:
        """Parameters as points of a unit cube; categories are a unit apart."""
        columns: list[Array] = []
        for name, distribution in self.distributions.items():
            values = [p[name] for p in self.parameters]
            columns += _coordinates(distribution, values)
        return np.stack(columns, axis=1)

    def position(self, parameters: dict[str, Any]) -> Array:
        """Of parameters that need not be a configuration's."""
        columns: list[Array] = []
        for name, distribution in self.distributions.items():
            columns += _coordinates(distribution, [parameters[name]])
        return np.concatenate(columns)

    def subset(self, chosen: npt.NDArray[np.bool_], name: str) -> Trained:
        """Some of the configurations."""
        keep = np.flatnonzero(chosen)
        return Trained(
            name=name,
            parameters=[self.parameters[i] for i in keep],
            accuracy=self.accuracy[keep],
            loss=self.loss[keep],
            seconds=self.seconds[keep],
            flops=self.flops[keep],
            gradients=self.gradients[keep],
            probes=[self.probes[i] for i in keep],
            probe_seconds=self.probe_seconds[keep],
            probe_flops=self.probe_flops[keep],
            first_gradients=self.first_gradients[keep],
            first_seconds=self.first_seconds[keep],
            first_flops=self.first_flops[keep],
        )


def load(name: str, folder: Path = FOLDER) -> Trained:
    """The tables of a space.

    Raises:
        FileNotFoundError: If they were not made.
    """
    trained = pd.read_parquet(folder / f"{name}_trained.parquet").sort_values(["index", "epoch"])
    probed = pd.read_parquet(folder / f"{name}_probed.parquet").sort_values("index")
    count = len(probed)
    names = TRAINED[name].parameters

    def curve(column: str) -> Array:
        return trained[column].to_numpy(float).reshape(count, -1)

    which = ("first", "last", "largest")
    gradients = [curve(f"gradient_{name}") for name in which]
    return Trained(
        name=name,
        parameters=_plain(probed[list(names)]),
        accuracy=curve("accuracy"),
        loss=curve("loss"),
        seconds=curve("seconds"),
        flops=curve("flops"),
        gradients=np.stack(gradients, axis=2),
        probes=[ProbeResult.from_dict(json.loads(text)) for text in probed["probe"]],
        probe_seconds=probed["probe_seconds"].to_numpy(float),
        probe_flops=probed["probe_flops"].to_numpy(float),
        first_gradients=probed[[f"first_batch_gradient_{name}" for name in which]].to_numpy(float),
        first_seconds=probed["first_batch_seconds"].to_numpy(float),
        first_flops=probed["first_batch_flops"].to_numpy(float),
    )


def _plain(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _distribution(values: list[Any]) -> BaseDistribution:
    if isinstance(values[0], (bool, str)):
        return CategoricalDistribution(sorted(set(values)))
    kind = IntDistribution if isinstance(values[0], int) else FloatDistribution
    return kind(min(values), max(values), log=True)


def _coordinates(distribution: BaseDistribution, values: list[Any]) -> list[Array]:
    if isinstance(distribution, CategoricalDistribution):
        choices = distribution.choices
        return [np.asarray([float(v == c) / math.sqrt(2) for v in values]) for c in choices]
    assert isinstance(distribution, (IntDistribution, FloatDistribution))
    low, high = math.log(distribution.low), math.log(distribution.high)
    return [np.asarray([(math.log(v) - low) / (high - low) for v in values])]
