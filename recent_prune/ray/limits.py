"""How much probing may take."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

ACCELERATORS = ("GPU", "NPU", "HPU", "TPU")
"""Ray's resources behind which there may be an accelerator that PyTorch knows; those of NVIDIA, AMD
and Intel are all GPU."""


@dataclass(frozen=True)
class PoolLimits:
    """How much probing may take.

    Attributes:
        actors: Probe actors at a time, at most.
        resources: Of one of them, as Ray names them, e.g. ``{"CPU": 1}`` or ``{"GPU": 0.25}``.
        batch_size: Candidates that an actor gets at a time, at most.
        timeout_s: Seconds for a batch.
        start_timeout_s: Seconds for an actor to start, waiting for its resources included.
        idle_s: Seconds after which idle actors are released.
    """

    actors: int
    resources: Mapping[str, float]
    batch_size: int
    timeout_s: float
    start_timeout_s: float
    idle_s: float

    def __post_init__(self) -> None:
        for argument, count in {"probe_actors": self.actors, "batch_size": self.batch_size}.items():
            if not isinstance(count, int) or count < 1:
                raise ValueError(
                    f"`{argument}` must be a whole number of at least 1, but got {count!r}."
                )
        for argument in ("timeout_s", "start_timeout_s", "idle_s"):
            seconds = getattr(self, argument)
            if not isinstance(seconds, Real) or not float(seconds) > 0:
                raise ValueError(f"`{argument}` must be positive seconds, but got {seconds!r}.")
        if not isinstance(self.resources, Mapping):
            raise TypeError(
                f'`probe_resources` must be as {{"CPU": 1}} or None, but got {self.resources!r}.'
            )
        object.__setattr__(self, "resources", dict(self.resources))  # the user's own may change
        for name, amount in self.resources.items():
            known = isinstance(name, str) and isinstance(amount, Real)
            if not known or not 0 <= float(amount) < math.inf:
                raise ValueError(
                    "`probe_resources` must be from names to numbers of at least 0, but got "
                    f"{name!r}: {amount!r}."
                )
            meant = name.removeprefix("num_").removesuffix("s").upper()
            if meant in ("CPU", "GPU") and name != meant:
                raise ValueError(f"`probe_resources` has {name!r}; Ray calls it {meant!r}.")
            if amount > 1 and amount != int(amount):
                raise ValueError(
                    f"`probe_resources` above 1 must be whole numbers, but got {name}={amount!r}."
                )

    @property
    def options(self) -> dict[str, Any]:
        """The resources as options of an actor."""
        custom = dict(self.resources)
        return {
            "num_cpus": custom.pop("CPU", 0),
            "num_gpus": custom.pop("GPU", 0),
            "memory": custom.pop("memory", None),
            "resources": custom,
            "max_restarts": 0,
        }

    @property
    def accelerated(self) -> bool:
        """Whether an actor has a share of an accelerator."""
        return any(self.resources.get(name) for name in ACCELERATORS)
