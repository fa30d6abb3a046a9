"""Networks whose initialization is given by its variances, for demo, studies and benchmarks."""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "sigmoid": nn.Sigmoid,
    "leaky_relu": nn.LeakyReLU,
}
"""Activation functions by the names that networks take."""


def mlp(
    inputs: int,
    outputs: int,
    *,
    depth: int,
    width: int | Sequence[int],
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
        width: Units a hidden layer, or of each of them.
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
    _check(depth, 1, activation, weight_variance, bias_variance)
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    widths = [width] * depth if isinstance(width, int) else list(width)
    if len(widths) != depth:
        raise ValueError(f"`width` must have {depth} sizes, one a layer, but got {len(widths)}.")
    sizes = [inputs, *widths]
    variances = _Variances(weight_variance, bias_variance, _generator(seed))
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes), start=1):
        layers[f"hidden{i}"] = variances.linear(fan_in, fan_out)
        layers[f"{activation}{i}"] = ACTIVATIONS[activation]()
    layers["head"] = variances.linear(widths[-1], outputs)
    return nn.Sequential(layers)


def cnn(
    shape: tuple[int, int, int],
    outputs: int,
    *,
    depth: int,
    channels: int = 128,
    activation: str = "tanh",
    weight_variance: float = 1.05,
    bias_variance: float = 2e-5,
    seed: int | None = 0,
) -> nn.Sequential:
    """The paper's CNN: 3×3 convolutions with circular padding, the second and third strided.

    Args:
        shape: Of a sample: channels, height, width.
        outputs: Number of classes.
        depth: Number of convolutions, ≥ 3.
        channels: Of each convolution. Default 128, the paper's.
        activation: A key of ``ACTIVATIONS``. Default tanh, the paper's.
        weight_variance: σ_w², W ~ N(0, σ_w²/fan_in) with fan_in = channels × 9. Default 1.05,
            critical for tanh at the default σ_b².
        bias_variance: σ_b². Default 2e-5, the paper's.
        seed: As in :func:`mlp`.

    Returns:
        Sequential of ``conv1``, ``tanh1``, …, ``flatten``, ``head``; outputs are logits.

    Raises:
        ValueError: If an argument is out of its range.

    Source: arXiv 2406.12916, section 2.
    """
    _check(depth, 3, activation, weight_variance, bias_variance)
    variances = _Variances(weight_variance, bias_variance, _generator(seed))
    layers = _convolutions(shape[0], depth, channels, activation, variances)
    return _with_head(layers, shape, outputs, variances)


def resnet(
    shape: tuple[int, int, int],
    outputs: int,
    *,
    blocks: int,
    channels: int = 32,
    activation: str = "tanh",
    weight_variance: float = 1.05,
    bias_variance: float = 2e-5,
    seed: int | None = 0,
) -> nn.Sequential:
    """The paper's residual network: the stem of :func:`cnn`, then blocks φ(x + conv(φ(conv(x)))).

    Args:
        shape: As in :func:`cnn`.
        outputs: Number of classes.
        blocks: Number of blocks of two convolutions, ≥ 1. The paper has 50.
        channels: Of each convolution. Default 32, the paper's.
        activation: As in :func:`cnn`.
        weight_variance: As in :func:`cnn`.
        bias_variance: As in :func:`cnn`.
        seed: As in :func:`mlp`.

    Returns:
        Sequential of ``conv1``, ``tanh1``, … of the stem, ``block1``, …, ``flatten``, ``head``.

    Raises:
        ValueError: If an argument is out of its range.

    Source: arXiv 2406.12916, section 2.
    """
    _check(blocks, 1, activation, weight_variance, bias_variance, name="blocks")
    variances = _Variances(weight_variance, bias_variance, _generator(seed))
    layers = _convolutions(shape[0], 3, channels, activation, variances)
    for i in range(1, blocks + 1):
        layers[f"block{i}"] = _Block(
            variances.convolution(channels, channels, 1),
            ACTIVATIONS[activation](),
            variances.convolution(channels, channels, 1),
            ACTIVATIONS[activation](),
        )
    return _with_head(layers, shape, outputs, variances)


@dataclass(frozen=True)
class _Variances:
    """Draws the parameters of a network's modules, one after another."""

    weight: float
    bias: float
    generator: torch.Generator | None

    def linear(self, fan_in: int, fan_out: int) -> nn.Linear:
        layer = nn.utils.skip_init(nn.Linear, fan_in, fan_out)
        assert isinstance(layer, nn.Linear)
        self._draw(layer.weight, layer.bias)
        return layer

    def convolution(self, channels_in: int, channels_out: int, stride: int) -> nn.Conv2d:
        layer = nn.utils.skip_init(
            nn.Conv2d, channels_in, channels_out, 3, stride, 1, padding_mode="circular"
        )
        assert isinstance(layer, nn.Conv2d)
        assert layer.bias is not None
        self._draw(layer.weight, layer.bias)
        return layer

    def _draw(self, weight: Tensor, bias: Tensor) -> None:
        fan_in = weight[0].numel()
        nn.init.normal_(weight, std=math.sqrt(self.weight / fan_in), generator=self.generator)
        nn.init.normal_(bias, std=math.sqrt(self.bias), generator=self.generator)


class _Block(nn.Module):
    """φ(x + conv(φ(conv(x))))."""

    def __init__(
        self, first: nn.Conv2d, inner: nn.Module, second: nn.Conv2d, outer: nn.Module
    ) -> None:
        super().__init__()
        self.first, self.inner, self.second, self.outer = first, inner, second, outer

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.outer(x + self.second(self.inner(self.first(x))))
        return out


def _convolutions(
    channels_in: int, depth: int, channels: int, activation: str, variances: _Variances
) -> OrderedDict[str, nn.Module]:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for i in range(1, depth + 1):
        entering = channels_in if i == 1 else channels
        layers[f"conv{i}"] = variances.convolution(entering, channels, 2 if i in (2, 3) else 1)
        layers[f"{activation}{i}"] = ACTIVATIONS[activation]()
    return layers


def _with_head(
    layers: OrderedDict[str, nn.Module],
    shape: tuple[int, int, int],
    outputs: int,
    variances: _Variances,
) -> nn.Sequential:
    layers["flatten"] = nn.Flatten()
    with torch.no_grad():
        features = nn.Sequential(layers)(torch.zeros(1, *shape)).shape[1]
    layers["head"] = variances.linear(features, outputs)
    return nn.Sequential(layers)


def _generator(seed: int | None) -> torch.Generator | None:
    return None if seed is None else torch.Generator().manual_seed(seed)


def _check(
    depth: int,
    least: int,
    activation: str,
    weight_variance: float,
    bias_variance: float,
    name: str = "depth",
) -> None:
    if depth < least:
        raise ValueError(f"`{name}` must be at least {least}, but got {depth}.")
    if activation not in ACTIVATIONS:
        raise ValueError(
            f"`activation` must be one of {list(ACTIVATIONS)}, but got {activation!r}."
        )
    for argument, variance in (
        ("weight_variance", weight_variance),
        ("bias_variance", bias_variance),
    ):
        if not variance >= 0:
            raise ValueError(f"`{argument}` must be ≥ 0, but got {variance}.")
