"""The networks whose training is to be predicted: six fixed, seeded samples.

Estimator and thresholds were chosen on the **tuning** sample (plain MLPs). The **validation**
sample (several families, other seeds) was drawn afterwards; it changed the noise floors once, and
the weight of the score was chosen on it.
The **test** sample was drawn after that and was looked at while `TrainabilityRule` was designed;
the **holdout** sample was drawn then, and a review after its evaluation changed what the rule does
with dead networks. The **confirmation** sample was drawn when the rule was as it is, and the
**replication** sample after it, with the same rule, to answer one question that it had left open.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recent_prune.networks import ACTIVATIONS


@dataclass(frozen=True)
class Specification:
    """One network at its initialization.

    Attributes:
        index: Seed of its weights and of the order of its batches.
        family: The group it is counted in.
        kind: ``"mlp"`` or ``"cnn"``.
        activation: A key of `recent_prune.networks.ACTIVATIONS`.
        depth: Hidden layers.
        width: Units or channels of each.
        weight_variance: σ_w², W ~ N(0, σ_w² / fan_in).
        bias_variance: σ_b².
        norm: ``"none"``, ``"batch"`` or ``"layer"``, before each activation function.
        skip: Whether each layer but the first is added to its input.
    """

    index: int
    family: str
    kind: str
    activation: str
    depth: int
    width: int
    weight_variance: float
    bias_variance: float
    norm: str = "none"
    skip: bool = False

    def build(self, image: Tensor) -> nn.Sequential:
        """The network for images like ``image`` [channels, height, width]; the same each time."""
        layers: list[nn.Module] = [nn.Flatten()] if self.kind == "mlp" else []
        features = image.numel() if self.kind == "mlp" else len(image)
        for number in range(self.depth):
            linear: nn.Module
            if self.kind == "mlp":
                linear = nn.utils.skip_init(nn.Linear, features, self.width)
            else:
                # One step of the stride, in the third layer, as space for images this small.
                linear = nn.Conv2d(
                    features,
                    self.width,
                    3,
                    stride=2 if number == 2 else 1,
                    padding=1,
                    padding_mode="circular",
                )
            parts = [linear, *self._norm(), ACTIVATIONS[self.activation]()]
            same = number > 0 and not (self.kind == "cnn" and number == 2)
            layers.append(_Skip(*parts) if self.skip and same else nn.Sequential(*parts))
            features = self.width
        if self.kind == "cnn":
            layers.append(nn.Flatten())
            with torch.no_grad():
                features = nn.Sequential(*layers).eval()(image[None]).shape[1]
        layers.append(nn.Linear(features, 10))
        model = nn.Sequential(*layers).train()  # the layers were shared with what ran above
        self._initialize(model)
        return model

    def _norm(self) -> list[nn.Module]:
        if self.norm == "none":
            return []
        if self.kind == "mlp":
            return [{"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}[self.norm](self.width)]
        return [nn.BatchNorm2d(self.width) if self.norm == "batch" else nn.GroupNorm(1, self.width)]

    def _initialize(self, model: nn.Module) -> None:
        generator = torch.Generator().manual_seed(self.index)
        for module in model.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                fan_in = module.weight[0].numel()
                deviation = math.sqrt(self.weight_variance / fan_in)
                nn.init.normal_(module.weight, std=deviation, generator=generator)
                assert module.bias is not None
                nn.init.normal_(module.bias, std=math.sqrt(self.bias_variance), generator=generator)


class _Skip(nn.Sequential):
    """x + f(x)."""

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + super().forward(x)  # type: ignore[no-untyped-call]
        return out


PLAIN = ("tanh", "relu", "gelu")
KINDS = ("mlp", "mlp", "cnn")


def tuning_sample() -> list[Specification]:
    """300 plain MLPs: tanh, ReLU, GELU; depth 2–64 and σ_w² 0.25–6 (log-uniform)."""
    draw = random.Random(0)
    return [_plain_mlp(draw, index, PLAIN) for index in range(300)]


def validation_sample() -> list[Specification]:
    """440 networks of five families, from seeds that the tuning sample has not seen."""
    return _families(2026, 10_000, (180, 40, 80, 60, 80))


def test_sample() -> list[Specification]:
    """300 networks of the same five families, from seeds of their own."""
    return _families(2027, 20_000, (120, 30, 50, 40, 60))


def holdout_sample() -> list[Specification]:
    """300 more, from further seeds."""
    return _families(2028, 30_000, (120, 30, 50, 40, 60))


def confirmation_sample() -> list[Specification]:
    """300 more, from further seeds."""
    return _families(2029, 40_000, (120, 30, 50, 40, 60))


def replication_sample() -> list[Specification]:
    """600 more, from further seeds."""
    return _families(2030, 50_000, (240, 60, 100, 80, 120))


SAMPLES = {
    "tuning": tuning_sample,
    "validation": validation_sample,
    "test": test_sample,
    "holdout": holdout_sample,
    "confirmation": confirmation_sample,
    "replication": replication_sample,
}


def _families(seed: int, first: int, counts: tuple[int, ...]) -> list[Specification]:
    draw = random.Random(seed)
    families: list[Callable[[int], Specification]] = [
        lambda index: _plain_mlp(draw, index, PLAIN),
        lambda index: _plain_mlp(draw, index, ("sigmoid", "leaky_relu")),
        lambda index: _plain_cnn(draw, index),
        lambda index: _with_norm(draw, index),
        lambda index: _with_skips(draw, index),
    ]
    drawn: list[Specification] = []
    for count, family in zip(counts, families, strict=True):
        drawn += [family(first + len(drawn) + i) for i in range(count)]
    return drawn


def _plain_mlp(draw: random.Random, index: int, activations: tuple[str, ...]) -> Specification:
    family = "plain MLP" if activations == PLAIN else "sigmoid and leaky ReLU MLP"
    return _network(draw, index, family, "mlp", (2, 64), activations)


def _plain_cnn(draw: random.Random, index: int) -> Specification:
    return _network(draw, index, "plain CNN", "cnn", (3, 32))


def _with_norm(draw: random.Random, index: int) -> Specification:
    kind = draw.choice(KINDS)
    depths = (3, 48 if kind == "mlp" else 24)
    return _network(draw, index, "normalised", kind, depths, norms=["batch", "layer"])


def _with_skips(draw: random.Random, index: int) -> Specification:
    kind = draw.choice(KINDS)
    depths = (3, 64 if kind == "mlp" else 24)
    norms = ["none", "none", "batch", "layer"]
    return _network(draw, index, "residual", kind, depths, norms=norms, skip=True)


def _network(
    draw: random.Random,
    index: int,
    family: str,
    kind: str,
    depths: tuple[int, int],
    activations: tuple[str, ...] = PLAIN,
    norms: Sequence[str] = (),
    skip: bool = False,
) -> Specification:
    return Specification(
        index=index,
        family=family,
        kind=kind,
        activation=activations[index % len(activations)],
        depth=_log_uniform_int(draw, *depths),
        width=draw.choice([32, 64, 128] if kind == "mlp" else [8, 16, 32]),
        weight_variance=_log_uniform(draw, 0.25, 6),
        bias_variance=draw.choice([0.0, 0.05]),
        norm=draw.choice(norms) if norms else "none",
        skip=skip,
    )


def _log_uniform(draw: random.Random, low: float, high: float) -> float:
    return math.exp(draw.uniform(math.log(low), math.log(high)))


def _log_uniform_int(draw: random.Random, low: int, high: int) -> int:
    return round(_log_uniform(draw, low, high))
