# ruff: noqa: D102 - what `forward` does is said of its class
# mypy: disable-error-code="no-any-return,index,operator,arg-type"
"""Own generators, flows and others that learn a distribution."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.zoo.data import cut, generator, pictures, table
from benchmarks.zoo.own.building import mlp, own, small_cnn
from benchmarks.zoo.specification import adam


def discriminator() -> nn.Sequential:
    """DCGAN's: strided convolutions, leaky ReLU."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(32, 64, 4, 2, 1),
        nn.BatchNorm2d(64),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(1024, 1),
    )


def real_or_not(seed: int) -> list[Any]:
    """(half images, half what an untrained generator gives, which is which)."""
    found, _ = pictures(seed, 16, grey=True)
    smooth = F.interpolate(
        torch.randn(len(found), 1, 4, 4, generator=generator(seed)), size=16, mode="bilinear"
    )
    real = (torch.arange(len(found)) % 2).float()
    return cut(torch.where(real[:, None, None, None] > 0, found, smooth), real[:, None])


class Generator(nn.Module):
    """DCGAN's, which a frozen discriminator judges; initialized with N(0, 0.02²) as there."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.ConvTranspose2d(32, 64, 4),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.ConvTranspose2d(64, 32, 4, 2, 1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.ConvTranspose2d(32, 1, 4, 2, 1),
            nn.Tanh(),
        )
        for module in self.net:
            if isinstance(module, nn.ConvTranspose2d):
                nn.init.normal_(module.weight, std=0.02)
        self.judge = discriminator().requires_grad_(False)

    def forward(self, z: Tensor) -> Tensor:
        return self.net(z[..., None, None])


def fooled(model: nn.Module, batch: Any) -> Tensor:
    """The generator's loss: its images are to be taken for real ones."""
    score = model.judge(model(batch))
    return F.softplus(-score).mean()


def latent(seed: int) -> list[Any]:
    return cut(torch.randn(32 * (48 if seed == 0 else 8), 32, generator=generator(seed)))


class Penalized(nn.Module):
    """A Wasserstein critic with a gradient penalty, by its own loss."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 32, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(32, 64, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(1024, 1),
        )

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        x = x.detach().requires_grad_(True)
        score = self.net(x)
        (slope,) = torch.autograd.grad(score.sum(), x, create_graph=True)
        penalty = ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()
        return ((1 - 2 * y) * score).mean() + 10 * penalty


class RealNVP(nn.Module):
    """Affine couplings; gives latent variables and log-determinants."""

    def __init__(self, depth: int = 6) -> None:
        super().__init__()
        self.nets = nn.ModuleList(mlp(6, 64, 12) for _ in range(depth))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        total = x.new_zeros(len(x))
        for net in self.nets:
            a, b = x.chunk(2, dim=1)
            scale, shift = net(a).chunk(2, dim=1)
            scale = torch.tanh(scale)
            x = torch.cat([b * scale.exp() + shift, a], dim=1)
            total = total + scale.sum(1)
        return x, total


def likelihood(output: tuple[Tensor, Tensor], _: Any) -> Tensor:
    z, log_determinant = output
    return (0.5 * (z**2).sum(1) - log_determinant).mean() / z.shape[1]


class Masked(nn.Linear):
    """MADE's: no output sees its own or a later input."""

    def __init__(self, fan_in: int, fan_out: int, *, strict: bool) -> None:
        super().__init__(fan_in, fan_out)
        a, b = torch.arange(fan_in) % 12, torch.arange(fan_out) % 12
        self.register_buffer("mask", (b[:, None] > a if strict else b[:, None] >= a).float())

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.mask, self.bias)


class PixelCNN(nn.Module):
    """Masked convolutions, of each pixel whether it is bright by those before it."""

    def __init__(self) -> None:
        super().__init__()
        sizes = [(1, 32), (32, 32), (32, 32)]
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 5, 1, 2) for a, b in sizes)
        self.head = nn.Conv2d(32, 1, 1)
        mask = torch.ones(2, 5, 5)
        mask[0, 2, 2:], mask[1, 2, 3:] = 0, 0
        mask[:, 3:] = 0
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        for i, layer in enumerate(self.layers):
            x = F.relu(F.conv2d(x, layer.weight * self.mask[min(i, 1)], layer.bias, padding=2))
        return self.head(x)


def binary(seed: int) -> list[Any]:
    found, _ = pictures(seed, 16, grey=True)
    return cut((found > 0).float(), (found > 0).float())


class SimCLR(nn.Module):
    """Two views of an image are to be alike and unlike all others; returns its own loss."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.head = small_cnn(64), mlp(64, 64, 32)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        z = F.normalize(self.head(self.encoder(torch.cat([a, b]))), dim=1)
        scores = (z @ z.t() / 0.2).fill_diagonal_(-1e9)
        return F.cross_entropy(scores, torch.arange(len(z), device=z.device).roll(len(a)))


def views(seed: int) -> list[Any]:
    found, _ = pictures(seed)
    return cut(found.roll(3, 2), found.flip(3) + 0.1 * torch.randn(found.shape))


ENTRIES = [
    own(
        "GAN discriminator",
        "generative",
        discriminator,
        real_or_not,
        F.binary_cross_entropy_with_logits,
        adam(2e-4, (0.5, 0.999)),
    ),
    own(
        "GAN generator",
        "generative",
        Generator,
        latent,
        None,
        adam(2e-4, (0.5, 0.999)),
        call=fooled,
    ),
    own(
        "critic with gradient penalty",
        "generative",
        Penalized,
        real_or_not,
        None,
        adam(2e-4, (0.5, 0.9)),
    ),
    own("RealNVP", "flow", RealNVP, lambda s: cut(*[table(s)[0]] * 2), likelihood),
    own(
        "MADE",
        "autoregressive",
        lambda: nn.Sequential(Masked(12, 96, strict=False), nn.ReLU(), Masked(96, 12, strict=True)),
        lambda s: cut(*[table(s)[0]] * 2),
        F.mse_loss,
    ),
    own("PixelCNN", "autoregressive", PixelCNN, binary, F.binary_cross_entropy_with_logits),
    own("SimCLR", "self-supervised", SimCLR, views, None),
]
