"""Own autoencoders, generators, flows and others that learn a distribution."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.zoo.data import alone, cut, generator, images, pictures, series, table
from benchmarks.zoo.own_models import mlp, own, small_cnn
from benchmarks.zoo.specification import adam


class Autoencoder(nn.Module):
    """Convolutions down to 64 numbers and up again."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU(),
            nn.Flatten(), nn.Linear(2048, 64),
        )
        self.decoder = nn.Sequential(
            nn.Linear(64, 2048), nn.ReLU(), nn.Unflatten(1, (32, 8, 8)),
            nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(16, 3, 4, 2, 1),
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
        self.decoder = nn.Sequential(nn.Conv2d(16, 32, 1), nn.ReLU(), nn.ConvTranspose2d(32, 3, 4, 4))

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


def discriminator() -> nn.Sequential:
    """DCGAN's: strided convolutions, leaky ReLU."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(32, 64, 4, 2, 1),
        nn.BatchNorm2d(64), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(1024, 1),
    )


def real_or_not(seed: int) -> list[Any]:
    """(half images, half what an untrained generator gives, which is which)."""
    found, _ = pictures(seed, 16, grey=True)
    smooth = F.interpolate(torch.randn(len(found), 1, 4, 4, generator=generator(seed)), size=16,
                           mode="bilinear")
    real = (torch.arange(len(found)) % 2).float()
    return cut(torch.where(real[:, None, None, None] > 0, found, smooth), real[:, None])


class Generator(nn.Module):
    """DCGAN's, which a frozen discriminator judges; initialized with N(0, 0.02²) as there."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.ConvTranspose2d(32, 64, 4), nn.BatchNorm2d(64), nn.ReLU(),
            nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.BatchNorm2d(32), nn.ReLU(),
            nn.ConvTranspose2d(32, 1, 4, 2, 1), nn.Tanh(),
        )
        for module in self.net:
            if isinstance(module, nn.ConvTranspose2d):
                nn.init.normal_(module.weight, std=0.02)
        self.judge = discriminator().requires_grad_(False)

    def forward(self, z: Tensor) -> Tensor:
        return self.net(z[..., None, None])


def fooled(model: nn.Module, batch: Any) -> Tensor:
    """The generator's loss: its images are to be taken for real ones."""
    score = model.judge(model(batch))  # type: ignore[operator]
    return F.softplus(-score).mean()


def latent(seed: int) -> list[Any]:
    return cut(torch.randn(32 * (48 if seed == 0 else 8), 32, generator=generator(seed)))


class Penalized(nn.Module):
    """A Wasserstein critic with a gradient penalty, by its own loss."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 32, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(32, 64, 4, 2, 1),
            nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(1024, 1),
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
    own("convolutional autoencoder", "autoencoder", Autoencoder, alone, F.mse_loss),
    own("VAE", "autoencoder", VAE, alone, elbo),
    own("VQ-VAE", "autoencoder", VectorQuantized, unlabelled, None),
    own("LSTM autoencoder of series", "autoencoder", SeriesAutoencoder,
        lambda s: cut(series(s, 20), series(s, 20)), F.mse_loss, adam(3e-3)),
    own("U-Net", "segmentation", UNet, bright, F.cross_entropy),
    own("diffusion U-Net with time", "generative", Diffusion, noised, F.mse_loss),
    own("GAN discriminator", "generative", discriminator, real_or_not,
        F.binary_cross_entropy_with_logits, adam(2e-4, (0.5, 0.999))),
    own("GAN generator", "generative", Generator, latent, None, adam(2e-4, (0.5, 0.999)),
        call=fooled),
    own("critic with gradient penalty", "generative", Penalized, real_or_not, None,
        adam(2e-4, (0.5, 0.9))),
    own("RealNVP", "flow", RealNVP, lambda s: cut(*[table(s)[0]] * 2), likelihood),
    own("MADE", "autoregressive", lambda: nn.Sequential(
        Masked(12, 96, strict=False), nn.ReLU(), Masked(96, 12, strict=True)),
        lambda s: cut(*[table(s)[0]] * 2), F.mse_loss),
    own("PixelCNN", "autoregressive", PixelCNN, binary, F.binary_cross_entropy_with_logits),
    own("SimCLR", "self-supervised", SimCLR, views, None),
]

