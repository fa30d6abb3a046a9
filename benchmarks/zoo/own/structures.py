# ruff: noqa: D102 - what `forward` does is said of its class
# mypy: disable-error-code="no-any-return,index,operator,arg-type"
"""Own models of unusual structure: spikes, experts, sets, complex numbers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.zoo.data import BATCH, MOST, cut, generator, images, waves
from benchmarks.zoo.own.building import mlp, own
from benchmarks.zoo.own.tables import joint_table
from benchmarks.zoo.specification import adam, adamw


class Spike(torch.autograd.Function):
    """A step whose gradient is that of a fast sigmoid."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        context.save_for_backward(x)
        return (x > 0).to(x)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        (x,) = context.saved_tensors
        return gradient / (1 + 10 * x.abs()) ** 2


class Spiking(nn.Module):
    """Leaky integrate-and-fire neurons over eight time steps."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = (
            nn.Linear(256, 128),
            nn.Linear(128, 64),
            nn.Linear(64, 10),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        a, b = x.new_zeros(len(x), 128), x.new_zeros(len(x), 64)
        total = x.new_zeros(len(x), 10)
        for _ in range(8):
            a = 0.9 * a + self.first(x)
            spikes: Tensor = Spike.apply(a - 1)
            b = 0.9 * b + self.second(spikes)
            a = a - spikes
            deeper: Tensor = Spike.apply(b - 1)
            b = b - deeper
            total = total + self.head(deeper)
        return total / 8


class Experts(nn.Module):
    """Each sample goes to two of four experts, which see their own samples only."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.gate = nn.Linear(12, 64), nn.Linear(64, 4)
        self.experts = nn.ModuleList(mlp(64, 64, 64) for _ in range(4))
        self.head = nn.Linear(64, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x))
        weight, chosen = self.gate(x).softmax(1).topk(2, dim=1)
        out = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            row, place = (chosen == number).nonzero(as_tuple=True)
            out = out.index_add(0, row, weight[row, place, None] * expert(x[row]))
        return self.head(x + out)


class Equilibrium(nn.Module):
    """z = tanh(W z + U x), iterated without gradients, then once with them."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.inner, self.head = nn.Linear(12, 64), nn.Linear(64, 64), nn.Linear(64, 1)
        nn.init.orthogonal_(self.inner.weight, 0.8)

    def forward(self, x: Tensor) -> Tensor:
        u = self.into(x)
        with torch.no_grad():
            z = torch.zeros_like(u)
            for _ in range(15):
                z = torch.tanh(self.inner(z) + u)
        return self.head(torch.tanh(self.inner(z) + u))


class Complex(nn.Module):
    """Complex linear layers of a Fourier transform, and the magnitude."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(21, 32, dtype=torch.complex64)
        self.b = nn.Linear(32, 32, dtype=torch.complex64)
        self.head = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        z = torch.fft.rfft(x[..., 0], norm="ortho")
        for layer in (self.a, self.b):
            z = layer(z)
            z = torch.complex(F.relu(z.real), F.relu(z.imag))
        return self.head(z.abs())


class DeepSets(nn.Module):
    """Sums over the real elements of a padded set; called with a mask."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = mlp(3, 64, 64), mlp(64, 64, 1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.outer((F.relu(self.inner(x)) * mask[..., None]).sum(1) / 8)


class SetTransformer(nn.Module):
    """Self-attention, then a query that pools."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.query = nn.Linear(3, 32), nn.Parameter(torch.randn(1, 1, 32))
        self.attention, self.pool = (
            nn.MultiheadAttention(32, 4, batch_first=True) for _ in range(2)
        )
        self.inner, self.head = mlp(32, 64, 32), nn.Linear(32, 1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.first(x)
        x = x + self.attention(x, x, x, key_padding_mask=~mask, need_weights=False)[0]
        x = x + self.inner(x)
        query = self.query.expand(len(x), -1, -1)
        return self.head(
            self.pool(query, x, x, key_padding_mask=~mask, need_weights=False)[0][:, 0]
        )


def sets(seed: int) -> list[Any]:
    """(points [n, t, 3], which are real, the mean of their lengths), padded batch by batch."""
    draw = generator(seed + 80)
    batches = []
    for _ in range(MOST[seed]):
        sizes = torch.randint(4, 13, (BATCH,), generator=draw)
        mask = torch.arange(int(sizes.max()))[None] < sizes[:, None]
        scale = 0.5 + torch.rand(BATCH, 1, 1, generator=draw)
        x = scale * torch.randn(*mask.shape, 3, generator=draw) * mask[..., None]
        batches.append((x, mask, (x.norm(dim=-1).sum(1) / sizes)[:, None]))
    return batches


class PointNet(nn.Module):
    """Shared layers over points [n, 3, t], the largest over all."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(3, 64, 1),
            nn.BatchNorm1d(64),
            nn.ReLU(),
            nn.Conv1d(64, 64, 1),
            nn.BatchNorm1d(64),
            nn.ReLU(),
        )
        self.head = mlp(64, 32, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(x).amax(2))


def clouds(seed: int) -> list[Any]:
    """(points of balls, shells and discs, which)."""
    draw = generator(seed + 90)
    count = BATCH * MOST[seed]
    x, kind = torch.randn(count, 3, 48, generator=draw), torch.arange(count) % 3
    shell = F.normalize(x, dim=1)
    disc = x * torch.tensor([1.0, 1.0, 0.1])[:, None]
    x = torch.where(kind[:, None, None] == 1, shell, torch.where(kind[:, None, None] == 2, disc, x))
    return cut(x, kind)


class Hyper(nn.Module):
    """One network makes the weights of another, of each sample its own."""

    def __init__(self) -> None:
        super().__init__()
        self.maker = mlp(6, 64, 6 * 16 + 16)

    def forward(self, x: Tensor) -> Tensor:
        into, out = self.maker(x[:, :6]).split([96, 16], dim=1)
        hidden = torch.tanh(torch.einsum("bi,bio->bo", x[:, 6:], into.view(-1, 6, 16)))
        return (hidden * out).sum(1, keepdim=True)


class Kan(nn.Module):
    """Of each edge a sum of Gaussian bumps, as fast Kolmogorov-Arnold networks have."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("grid", torch.linspace(-2, 2, 8))
        self.layers = nn.ModuleList(nn.Linear(8 * a, b) for a, b in ((12, 32), (32, 1)))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(torch.exp(-(((x[..., None] - self.grid) * 1.75) ** 2)).flatten(1))
        return x


class Binarized(nn.Module):
    """Signs of weights and activations, with straight-through gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(256, 256), nn.Linear(256, 256)])
        self.norms = nn.ModuleList(nn.BatchNorm1d(256) for _ in range(2))
        self.head = nn.Linear(256, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            weight = layer.weight + (layer.weight.sign() - layer.weight).detach()
            x = torch.clamp(norm(F.linear(x, weight, layer.bias)), -1, 1)
            x = x + (x.sign() - x).detach()
        return self.head(x)


def greys(seed: int) -> list[Any]:
    return images(seed, 16, grey=True)


ENTRIES = [
    own("spiking, surrogate gradients", "spiking", Spiking, greys, F.cross_entropy),
    own("mixture of experts", "experts", Experts, joint_table, F.mse_loss),
    own("equilibrium", "implicit", Equilibrium, joint_table, F.mse_loss),
    own("complex-valued", "complex", Complex, lambda s: cut(*waves(s, 40)), F.cross_entropy),
    own("deep sets", "sets", DeepSets, sets, F.mse_loss),
    own("set transformer", "sets", SetTransformer, sets, F.mse_loss, adamw(1e-3)),
    own("PointNet", "sets", PointNet, clouds, F.cross_entropy),
    own("hypernetwork", "MLP", Hyper, joint_table, F.mse_loss),
    own("Kolmogorov-Arnold, bumps", "MLP", Kan, joint_table, F.mse_loss, adam(3e-3)),
    own("binarized", "quantized", Binarized, greys, F.cross_entropy),
]
