"""Networks whose initialization is given by its variances, for demo, studies and benchmarks."""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict

import torch
from torch import nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "sigmoid": nn.Sigmoid,
    "leaky_relu": nn.LeakyReLU,
}


def mlp(
    inputs: int,
    outputs: int,
    *,
    depth: int,
    width: int,
    activation: str = "tanh",
    weight_variance: float = 1.76,
    bias_variance: float = 0.05,
    seed: int | None = 0,
) -> nn.Sequential:
    """A plain MLP with Gaussian initialization: W ~ N(0, σ_w²/fan_in), b ~ N(0, σ_b²).

    Args:
        inputs: Number of input features; samples of any shape are flattened.
        outputs: Number of classes.
        depth: Number of hidden layers, ≥ 1.
        width: Units a hidden layer.
        activation: A key of ``ACTIVATIONS``. Default tanh, the paper's.
        weight_variance: σ_w². Default 1.76, critical for tanh at the default σ_b².
        bias_variance: σ_b². Default 0.05, the paper's.
        seed: Of a generator of its own; the global random state is untouched. None: draw from the
            global random state.

    Returns:
        Sequential of ``flatten``, ``hidden1``, ``tanh1``, …, ``head``; outputs are logits.

    Raises:
        ValueError: If an argument is out of its range.

    Source: arXiv 2406.12916, section 2; Poole et al. 2016.
    """
    if depth < 1:
        raise ValueError(f"`depth` must be at least 1, but got {depth}.")
    if activation not in ACTIVATIONS:
        raise ValueError(
            f"`activation` must be one of {list(ACTIVATIONS)}, but got {activation!r}."
        )
    for name, variance in (("weight_variance", weight_variance), ("bias_variance", bias_variance)):
        if not variance >= 0:
            raise ValueError(f"`{name}` must be ≥ 0, but got {variance}.")
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    sizes = [inputs] + [width] * depth
    generator = None if seed is None else torch.Generator().manual_seed(seed)

    def linear(fan_in: int, fan_out: int) -> nn.Linear:
        layer = nn.utils.skip_init(nn.Linear, fan_in, fan_out)
        assert isinstance(layer, nn.Linear)
        nn.init.normal_(layer.weight, std=math.sqrt(weight_variance / fan_in), generator=generator)
        nn.init.normal_(layer.bias, std=math.sqrt(bias_variance), generator=generator)
        return layer

    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes), start=1):
        layers[f"hidden{i}"] = linear(fan_in, fan_out)
        layers[f"{activation}{i}"] = ACTIVATIONS[activation]()
    layers["head"] = linear(width, outputs)
    return nn.Sequential(layers)
