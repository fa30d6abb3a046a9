"""The networks whose training is to be predicted: a fixed, seeded sample of plain MLPs."""

from __future__ import annotations

import math
import random
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from recent_prune import networks

ACTIVATIONS = ("tanh", "relu", "gelu")


@dataclass(frozen=True)
class Specification:
    """One network: what `recent_prune.networks.mlp` needs to build it."""

    index: int
    activation: str
    depth: int
    width: int
    weight_variance: float
    bias_variance: float

    def build(self, inputs: int) -> nn.Sequential:
        """The network at its initialization; the same each time."""
        arguments: dict[str, Any] = asdict(self)
        seed = arguments.pop("index")
        return networks.mlp(inputs, 10, seed=seed, **arguments)


def sample(count: int, seed: int = 0) -> list[Specification]:
    """Depth 2–64 and σ_w² 0.25–6 (both log-uniform), widths 32–128, σ_b² 0 or 0.05."""
    draw = random.Random(seed)
    return [
        Specification(
            index=index,
            activation=ACTIVATIONS[index % len(ACTIVATIONS)],
            depth=round(math.exp(draw.uniform(math.log(2), math.log(64)))),
            width=draw.choice([32, 64, 128]),
            weight_variance=math.exp(draw.uniform(math.log(0.25), math.log(6))),
            bias_variance=draw.choice([0.0, 0.05]),
        )
        for index in range(count)
    ]
