"""Layers and activations that the networks are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from benchmarks.prediction.elsewhere.specification import Specification

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "mish": nn.Mish,
    "elu": nn.ELU,
    "hardswish": nn.Hardswish,
    "softplus": nn.Softplus,
    "softsign": nn.Softsign,
}


class Sine(nn.Module):
    """Sine with the first layer's frequency of SIREN, halved."""

    def __init__(self, frequency: float) -> None:
        super().__init__()
        self.frequency = frequency

    def forward(self, x: Tensor) -> Tensor:
        return (self.frequency * x).sin()


class Gated(nn.Module):
    """A layer whose one half opens the other (SwiGLU)."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.both = nn.Linear(inputs, 2 * width)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.both(x).chunk(2, dim=-1)
        out: Tensor = value * nn.functional.silu(gate)
        return out


class Added(nn.Module):
    """x + scale · f(x), the scale from `scale` on."""

    def __init__(self, *inner: nn.Module, scale: float = 1.0) -> None:
        super().__init__()
        self.inner = nn.Sequential(*inner)
        self.scale = nn.Parameter(torch.tensor(scale)) if scale != 1.0 else None

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x)
        return x + (out if self.scale is None else self.scale * out)


class Joined(nn.Module):
    """Channels of x, and new ones."""

    def __init__(self, *inner: nn.Module) -> None:
        super().__init__()
        self.inner = nn.Sequential(*inner)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.inner(x)], dim=1)


class Swapped(nn.Module):
    """Something done along the other axis of [n, positions, channels]."""

    def __init__(self, *inner: nn.Module) -> None:
        super().__init__()
        self.inner = nn.Sequential(*inner)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x.transpose(1, 2))
        return out.transpose(1, 2)


class Transposed(nn.Module):
    """[n, channels, positions] to [n, positions, channels]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)


class LinearAttention(nn.Module):
    """Attention by a feature map instead of a softmax."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        q, k = nn.functional.elu(q) + 1, nn.functional.elu(k) + 1
        mixed = q @ (k.transpose(1, 2) @ v) / (q @ k.sum(dim=1)[..., None])
        out: Tensor = self.out(mixed)
        return out


class Outputs(nn.Module):
    """What a recurrent cell gives, at each position."""

    def __init__(self, cell: nn.RNNBase) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.cell(x)[0]
        return out


class Taken(nn.Module):
    """One of the positions, or their mean."""

    def __init__(self, *, last: bool) -> None:
        super().__init__()
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        return x[:, -1] if self.last else x.mean(dim=1)


def norm2(s: Specification, width: int) -> list[nn.Module]:
    if s.norm == "none":
        return []
    return [nn.BatchNorm2d(width) if s.norm == "batch" else nn.GroupNorm(4, width)]


def norm1(s: Specification, width: int) -> list[nn.Module]:
    return [] if s.norm == "none" else [nn.RMSNorm(width)]


def drop(s: Specification) -> list[nn.Module]:
    return [nn.Dropout(s.dropout)] if s.dropout else []


class UNet(nn.Module):
    """Half the size and back, with one skip; one number a pixel."""

    def __init__(self, s: Specification) -> None:
        super().__init__()
        w, act = s.width, ACTIVATIONS[s.activation]
        down = [nn.Conv2d(1, w, 3, padding=1), act()]
        self.down = nn.Sequential(*down)
        inner: list[nn.Module] = [nn.MaxPool2d(2)]
        for _ in range(s.depth):
            inner += [nn.Conv2d(w, w, 3, padding=1), *norm2(s, w), act()]
        self.inner = nn.Sequential(*inner, nn.ConvTranspose2d(w, w, 2, 2))
        self.up = nn.Sequential(nn.Conv2d(2 * w, w, 3, padding=1), act(), nn.Conv2d(w, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        high = self.down(x)
        out: Tensor = self.up(torch.cat([high, self.inner(high)], dim=1))
        return out.flatten(1)
