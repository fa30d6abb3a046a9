# ruff: noqa: D102 - what `forward` does is said of its class
# mypy: disable-error-code="no-any-return,index,operator,arg-type"
"""Own autoencoders and U-Nets."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.zoo.data import alone, cut, generator, images, pictures, series
from benchmarks.zoo.own.building import mlp, own
from benchmarks.zoo.specification import adam


class Autoencoder(nn.Module):
    """Convolutions down to 64 numbers and up again."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 16, 4, 2, 1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 4, 2, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(2048, 64),
        )
        self.decoder = nn.Sequential(
            nn.Linear(64, 2048),
            nn.ReLU(),
            nn.Unflatten(1, (32, 8, 8)),
            nn.ConvTranspose2d(32, 16, 4, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(16, 3, 4, 2, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.decoder(self.encoder(x))
        return out


class SeriesAutoencoder(nn.Module):
    """An LSTM that reads, its last state, an LSTM that writes."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.LSTM(3, 32, batch_first=True)
        self.decoder, self.head = nn.LSTM(32, 32, batch_first=True), nn.Linear(32, 3)

    def forward(self, x: Tensor) -> Tensor:
        state = self.encoder(x)[0][:, -1:]
        return self.head(self.decoder(state.expand(-1, x.shape[1], -1))[0])


class VAE(nn.Module):
    """Gives the reconstruction, means and log-variances."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = mlp(3072, 128, 128), mlp(16, 128, 3072)
        self.mean, self.log_variance = nn.Linear(128, 16), nn.Linear(128, 16)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hidden = F.relu(self.encoder(x.flatten(1)))
        mean, log_variance = self.mean(hidden), self.log_variance(hidden)
        z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        return self.decoder(z).view_as(x), mean, log_variance


def elbo(output: tuple[Tensor, Tensor, Tensor], x: Tensor) -> Tensor:
    found, mean, log_variance = output
    divergence = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(1).mean()
    return F.mse_loss(found, x) + divergence / 3072


class VectorQuantized(nn.Module):
    """A code book with straight-through gradients; returns its own loss."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 32, 4, 4), nn.ReLU(), nn.Conv2d(32, 16, 1))
        self.codes = nn.Embedding(64, 16)
        self.decoder = nn.Sequential(
            nn.Conv2d(16, 32, 1), nn.ReLU(), nn.ConvTranspose2d(32, 3, 4, 4)
        )

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        z = self.encoder(x).movedim(1, -1)
        index = torch.cdist(z.flatten(0, 2), self.codes.weight).argmin(1).view(z.shape[:-1])
        code = self.codes(index)
        commitment = F.mse_loss(code, z.detach()) + 0.25 * F.mse_loss(z, code.detach())
        out = self.decoder((z + (code - z).detach()).movedim(-1, 1))
        return {"loss": F.mse_loss(out, x) + commitment, "reconstruction": out}


def unlabelled(seed: int) -> list[Any]:
    return [{"x": x} for x, _ in images(seed)]


class UNet(nn.Module):
    """Two levels with skips, of each pixel one of two classes."""

    def __init__(self, inputs: int = 3, outputs: int = 2) -> None:
        super().__init__()
        self.a, self.b, self.c = _block(inputs, 16), _block(16, 32), _block(32, 64)
        self.up_b, self.up_a = nn.ConvTranspose2d(64, 32, 2, 2), nn.ConvTranspose2d(32, 16, 2, 2)
        self.d, self.e, self.head = _block(64, 32), _block(32, 16), nn.Conv2d(16, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.a(x)
        b = self.b(F.max_pool2d(a, 2))
        c = self.c(F.max_pool2d(b, 2))
        d = self.d(torch.cat([self.up_b(c), b], dim=1))
        return self.head(self.e(torch.cat([self.up_a(d), a], dim=1)))


def _block(fan_in: int, fan_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(fan_in, fan_out, 3, 1, 1), nn.BatchNorm2d(fan_out), nn.ReLU())


def bright(seed: int) -> list[Any]:
    """(images, of each pixel whether it is brighter than around it)."""
    found, _ = pictures(seed)
    grey = found.mean(dim=1, keepdim=True)
    return cut(found, (grey > F.avg_pool2d(grey, 9, 1, 4)).long()[:, 0])


class Diffusion(nn.Module):
    """A small U-Net that predicts the noise, with an embedding of time; group norm, SiLU."""

    def __init__(self) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Linear(32, 64), nn.SiLU(), nn.Linear(64, 64))
        self.first, self.down = nn.Conv2d(1, 32, 3, 1, 1), nn.Conv2d(32, 64, 3, 2, 1)
        self.middle, self.up = nn.Conv2d(64, 64, 3, 1, 1), nn.ConvTranspose2d(64, 32, 4, 2, 1)
        self.norms = nn.ModuleList(nn.GroupNorm(8, c) for c in (32, 64, 64))
        self.shift, self.last = nn.Linear(64, 64), nn.Conv2d(64, 1, 3, 1, 1)
        nn.init.zeros_(self.last.weight)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        frequencies = torch.exp(-math.log(1000) * torch.arange(16, device=x.device) / 16)
        angle = t[:, None].float() * frequencies
        time = self.time(torch.cat([angle.sin(), angle.cos()], dim=1))
        a = F.silu(self.norms[0](self.first(x)))
        b = F.silu(self.norms[1](self.down(a)) + self.shift(F.silu(time))[..., None, None])
        b = b + F.silu(self.norms[2](self.middle(b)))
        return self.last(torch.cat([self.up(b), a], dim=1))


def noised(seed: int) -> list[Any]:
    """(noised images, time steps, the noise), as a loop of DDPM makes them."""
    found, _ = pictures(seed, 16, grey=True)
    draw = generator(seed + 30)
    t = torch.randint(0, 100, (len(found),), generator=draw)
    noise = torch.randn(found.shape, generator=draw)
    kept = torch.cos(t / 100 * math.pi / 2)[:, None, None, None] ** 2
    return cut(kept.sqrt() * found + (1 - kept).sqrt() * noise, t, noise)


ENTRIES = [
    own("convolutional autoencoder", "autoencoder", Autoencoder, alone, F.mse_loss),
    own("VAE", "autoencoder", VAE, alone, elbo),
    own("VQ-VAE", "autoencoder", VectorQuantized, unlabelled, None),
    own(
        "LSTM autoencoder of series",
        "autoencoder",
        SeriesAutoencoder,
        lambda s: cut(series(s, 20), series(s, 20)),
        F.mse_loss,
        adam(3e-3),
    ),
    own("U-Net", "segmentation", UNet, bright, F.cross_entropy),
    own("diffusion U-Net with time", "generative", Diffusion, noised, F.mse_loss),
]
