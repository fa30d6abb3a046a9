# ruff: noqa: D102 - what `forward` does is said of its class
# mypy: disable-error-code="no-any-return,index,operator,arg-type"
"""Own models of fields and physics, some of which differentiate in their forward pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.zoo.data import BATCH, MOST, cut, generator, pictures, waves
from benchmarks.zoo.own.building import mlp, own
from benchmarks.zoo.own.tables import joint_table
from benchmarks.zoo.specification import adam


class Nerf(nn.Module):
    """Colour and density along rays, (origins, directions) to colours."""

    def __init__(self, bands: int = 4, points: int = 8) -> None:
        super().__init__()
        self.bands, self.points = bands, points
        self.trunk = mlp(3 + 6 * bands, 64, 64, 64)
        self.density, self.colour = nn.Linear(64, 1), mlp(67, 32, 3)

    def forward(self, origin: Tensor, direction: Tensor) -> Tensor:
        depth = torch.linspace(0.5, 2.5, self.points, device=origin.device)
        x = origin[:, None] + depth[None, :, None] * direction[:, None]
        scaled = torch.cat([x * 2**k for k in range(self.bands)], dim=-1)
        hidden = F.relu(self.trunk(torch.cat([x, scaled.sin(), scaled.cos()], dim=-1)))
        toward = direction[:, None].expand_as(x)
        colour = self.colour(torch.cat([hidden, toward], dim=-1)).sigmoid()
        alpha = 1 - torch.exp(-F.softplus(self.density(hidden)) * 0.25)
        passed = torch.cumprod(torch.cat([torch.ones_like(alpha[:, :1]), 1 - alpha], 1), 1)[:, :-1]
        return (passed * alpha * colour).sum(1)


def rays(seed: int) -> list[Any]:
    """(origins, directions, colours of a ball that they may hit)."""
    count = BATCH * MOST[seed]
    draw = generator(seed + 40)
    origin = torch.tensor([0.0, 0.0, -1.5]) + 0.2 * torch.randn(count, 3, generator=draw)
    to = F.normalize(torch.tensor([0.0, 0, 1]) + 0.5 * torch.randn(count, 3, generator=draw), dim=1)
    near = -(origin * to).sum(1)
    least = (origin + near[:, None] * to).norm(dim=1)
    colour = torch.where(least[:, None] < 0.7, 0.5 + 0.5 * to, torch.zeros(3))
    return cut(origin, to, colour)


class Siren(nn.Module):
    """Sines of coordinates, initialized as in its paper."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(2, 64), nn.Linear(64, 64), nn.Linear(64, 64)])
        self.head = nn.Linear(64, 1)
        for i, layer in enumerate(self.layers):
            bound = 1 / 2 if i == 0 else (6 / 64) ** 0.5 / 30
            nn.init.uniform_(layer.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.sin(30 * layer(x))
        return self.head(x)


def coordinates(seed: int) -> list[Any]:
    """(places in one picture, its grey there)."""
    picture, _ = pictures(0, 32, grey=True)
    draw = generator(seed + 50)
    places = 2 * torch.rand(BATCH * MOST[seed], 2, generator=draw) - 1
    grey = F.grid_sample(picture[:1], places[None, None], align_corners=True)[0, 0, 0]
    return cut(places, grey[:, None])


class Pinn(nn.Module):
    """The residual of u'' = −π² sin(π x) is its output: it differentiates in its forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp(1, 32, 32, 1, activation=nn.Tanh)

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            u = x * (1 - x) * self.net(x)
            (first,) = torch.autograd.grad(u.sum(), x, create_graph=True)
            (second,) = torch.autograd.grad(first.sum(), x, create_graph=True)
        return second


def points(seed: int) -> list[Any]:
    x = torch.rand(BATCH * MOST[seed], 1, generator=generator(seed + 60))
    return cut(x, -(torch.pi**2) * torch.sin(torch.pi * x))


class Energy(nn.Module):
    """Energy and forces of particles [n, 6, 2], by autograd without ``enable_grad``."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp(1, 64, 64, 1, activation=nn.SiLU)

    def forward(self, positions: Tensor) -> Tensor:
        positions = positions.detach().requires_grad_(True)
        a, b = torch.triu_indices(6, 6, 1, device=positions.device)
        distance = (positions[:, a] - positions[:, b]).norm(dim=-1, keepdim=True)
        energy = self.net(distance).sum((1, 2))
        (slope,) = torch.autograd.grad(energy.sum(), positions, create_graph=True)
        return -slope


def particles(seed: int) -> list[Any]:
    """(positions, forces of springs of length 1 between all)."""
    x = torch.randn(BATCH * MOST[seed], 6, 2, generator=generator(seed + 70))
    difference = x[:, :, None] - x[:, None]
    distance = difference.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    return cut(x, -((distance - 1) * difference / distance).sum(2))


class NeuralODE(nn.Module):
    """Eight steps of the midpoint rule."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.field, self.head = (
            nn.Linear(12, 32),
            mlp(32, 64, 32, activation=nn.Tanh),
            nn.Linear(32, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for _ in range(8):
            x = x + self.field(x + self.field(x) / 16) / 8
        return self.head(x)


class FourierOperator(nn.Module):
    """Complex weights of the lowest modes, and a way beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(1, 16), nn.Linear(16, 1)
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(16, 16, 8, dtype=torch.cfloat) / 16) for _ in range(3)
        )
        self.beside = nn.ModuleList(nn.Conv1d(16, 16, 1) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).transpose(1, 2)
        for weight, beside in zip(self.weights, self.beside, strict=True):
            modes = torch.fft.rfft(x)
            low = torch.einsum("bim,iom->bom", modes[..., :8], weight)
            spectral = torch.fft.irfft(F.pad(low, (0, modes.shape[-1] - 8)), x.shape[-1])
            x = F.gelu(spectral + beside(x))
        return self.head(x.transpose(1, 2))


def smoothed(seed: int) -> list[Any]:
    """(waves, the same without fast parts)."""
    x, _ = waves(seed, 40)
    modes = torch.fft.rfft(x, dim=1)
    modes[:, 6:] = 0
    return cut(x, torch.fft.irfft(modes, 40, dim=1))


ENTRIES = [
    own("NeRF-like", "field", Nerf, rays, F.mse_loss, adam(5e-3)),
    own("SIREN", "field", Siren, coordinates, F.mse_loss, adam(1e-3)),
    own("PINN, autograd in forward", "physics", Pinn, points, F.mse_loss, adam(3e-3)),
    own(
        "forces of an energy, autograd in forward",
        "physics",
        Energy,
        particles,
        F.mse_loss,
        adam(3e-3),
    ),
    own("neural ODE", "physics", NeuralODE, joint_table, F.mse_loss, adam(3e-3)),
    own("Fourier neural operator", "physics", FourierOperator, smoothed, F.mse_loss, adam(3e-3)),
]
