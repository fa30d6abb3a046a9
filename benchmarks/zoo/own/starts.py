# ruff: noqa: D102 - what `forward` does is said of its class
# mypy: disable-error-code="no-any-return,index,operator,arg-type"
"""Own models that begin in a special way: at zero, near it, or on a frozen base."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.zoo.data import alone, cut, images, table
from benchmarks.zoo.own.autoencoders import Autoencoder
from benchmarks.zoo.own.building import mlp, own, small_cnn
from benchmarks.zoo.own.tables import joint_table
from benchmarks.zoo.specification import adam, adamw, sgd


class LoRA(nn.Module):
    """x W + x A B of a frozen W; B begins at zero."""

    def __init__(self, base: nn.Linear, rank: int = 4) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = nn.Parameter(torch.randn(base.in_features, rank) / rank)
        self.up = nn.Parameter(torch.zeros(rank, base.out_features))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + x @ self.down @ self.up


def adapted() -> nn.Module:
    """A frozen MLP with LoRA, whose head trains."""
    layers = [LoRA(nn.Linear(a, b)) for a, b in ((3072, 128), (128, 128))]
    return nn.Sequential(
        nn.Flatten(), layers[0], nn.ReLU(), layers[1], nn.ReLU(), nn.Linear(128, 10)
    )


def adapted_only() -> nn.Module:
    """All of the base is frozen, the head too."""
    layers = [LoRA(nn.Linear(a, b)) for a, b in ((3072, 128), (128, 128), (128, 10))]
    return nn.Sequential(nn.Flatten(), layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])


def frozen_base() -> nn.Module:
    """Only the head trains."""
    base = small_cnn(64).requires_grad_(False)
    return nn.Sequential(base, nn.ReLU(), nn.Linear(64, 10))


class Residual(nn.Module):
    """A residual MLP whose branches begin in one of several ways.

    Args:
        start: ``"rezero"`` (a factor that is 0), ``"scale"`` (LayerScale, 1e-5), ``"fixup"`` (the
            last weights of a branch are 0, the first ones small), ``"adapter"`` (bottlenecks whose
            way up is 0), ``"plain"``, or ``"prenorm"``.
        depth: Branches.
    """

    def __init__(self, start: str, depth: int = 12, width: int = 64) -> None:
        super().__init__()
        self.start = start
        self.first, self.head = nn.Linear(12, width), nn.Linear(width, 1)
        inner = width // 4 if start == "adapter" else width
        self.branches = nn.ModuleList(mlp(width, inner, width) for _ in range(depth))
        self.factors = nn.ParameterList()
        for branch in self.branches:
            if start in ("fixup", "adapter"):
                nn.init.zeros_(branch[-1].weight)
                nn.init.zeros_(branch[-1].bias)
            if start == "fixup":
                with torch.no_grad():
                    branch[0].weight.mul_(depth**-0.5)
            if start == "rezero":
                self.factors.append(nn.Parameter(torch.zeros(1)))
            if start == "scale":
                self.factors.append(nn.Parameter(torch.full((width,), 1e-5)))
        if start == "fixup":
            nn.init.zeros_(self.head.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for i, branch in enumerate(self.branches):
            y = branch(F.layer_norm(x, x.shape[-1:]) if self.start in ("scale", "prenorm") else x)
            x = x + (self.factors[i] * y if len(self.factors) else y)
        return self.head(x)


def zero_head() -> nn.Module:
    model = small_cnn()
    nn.init.zeros_(model[-1].weight)
    nn.init.zeros_(model[-1].bias)
    return model


class ZeroGamma(nn.Module):
    """A residual CNN whose last batch norm of each branch begins at 0."""

    def __init__(self, depth: int = 6) -> None:
        super().__init__()
        self.first, self.head = nn.Conv2d(3, 32, 3, 2, 1), nn.Linear(32, 10)
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(32, 32, 3, 1, 1),
                nn.BatchNorm2d(32),
                nn.ReLU(),
                nn.Conv2d(32, 32, 3, 1, 1),
                nn.BatchNorm2d(32),
            )
            for _ in range(depth)
        )
        for branch in self.branches:
            nn.init.zeros_(branch[-1].weight)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for branch in self.branches:
            x = F.relu(x + branch(x))
        return self.head(x.mean((2, 3)))


class ControlNet(nn.Module):
    """A frozen encoder and a copy of it, which joins in by a layer of zeros; the decoder trains."""

    def __init__(self) -> None:
        super().__init__()
        self.base, copy = Autoencoder(), Autoencoder()
        self.base.encoder.requires_grad_(False)
        self.copy, self.zero = copy.encoder, nn.Linear(64, 64)
        nn.init.zeros_(self.zero.weight)
        nn.init.zeros_(self.zero.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.base.decoder(self.base.encoder(x) + self.zero(self.copy(x)))


class Skip(nn.Module):
    """SkipInit's orthogonal kin: delta-orthogonal convolutions, tanh, no norm."""

    def __init__(self, depth: int = 12) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 32, 3, 2, 1)
        self.layers = nn.ModuleList(nn.Conv2d(32, 32, 3, 1, 1) for _ in range(depth))
        self.head = nn.Linear(32 * 256, 10)
        for layer in self.layers:
            with torch.no_grad():
                layer.weight.zero_()
                layer.weight[:, :, 1, 1] = nn.init.orthogonal_(torch.empty(32, 32))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.first(x))
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return self.head(x.flatten(1))


def doomed(gain: float, depth: int = 40) -> nn.Module:
    """A plain deep MLP that is known not to train: its signal fades, or is torn apart."""
    model = mlp(12, *[64] * depth, 1, activation=nn.Tanh)
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=gain / layer.in_features**0.5)
            nn.init.zeros_(layer.bias)
    return model


def dead() -> nn.Module:
    """ReLUs of which none is ever above zero."""
    model = mlp(12, 64, 64, 1)
    for place in (0, 2):
        nn.init.constant_(model[place].bias, -100.0)
    return model


def _regression(seed: int) -> list[object]:
    numbers, _, y = table(seed)
    return cut(numbers, y[:, None])


ENTRIES = [
    own("LoRA on a frozen base", "adapter", adapted, images, F.cross_entropy),
    own("LoRA, frozen head", "adapter", adapted_only, images, F.cross_entropy, adamw(3e-3)),
    own("frozen base, head alone", "adapter", frozen_base, images, F.cross_entropy),
    *(
        own(
            f"residual MLP, {start}",
            "zero start",
            partial(Residual, start),
            joint_table,
            F.mse_loss,
        )
        for start in ("rezero", "scale", "fixup", "adapter", "plain", "prenorm")
    ),
    own("head of zeros", "zero start", zero_head, images, F.cross_entropy),
    own(
        "residual CNN, last norms of zeros",
        "zero start",
        ZeroGamma,
        images,
        F.cross_entropy,
        sgd(0.1),
    ),
    own("ControlNet-like", "zero start", ControlNet, alone, F.mse_loss),
    own("delta-orthogonal CNN, tanh", "special start", Skip, images, F.cross_entropy, sgd(0.01)),
    own("doomed: fading tanh MLP", "doomed", partial(doomed, 0.5), _regression, F.mse_loss),
    own("doomed: chaotic tanh MLP", "doomed", partial(doomed, 4.0), _regression, F.mse_loss),
    own("doomed: dead ReLUs", "doomed", dead, _regression, F.mse_loss),
    own(
        "doomed: rate of 100",
        "doomed",
        lambda: mlp(12, 64, 64, 1),
        _regression,
        F.mse_loss,
        sgd(100.0),
    ),
    own(
        "doomed: rate of 1e-9",
        "doomed",
        lambda: mlp(12, 64, 64, 1),
        _regression,
        F.mse_loss,
        adam(1e-9),
    ),
]
