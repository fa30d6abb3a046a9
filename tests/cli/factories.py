"""What a user's file may hold."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from recent_prune.data import load_digits

LIMIT = 3


def build(depth: int = 4, gain: float = 1.2) -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten()]
    for _ in range(depth):
        linear = nn.Linear(64, 64)
        nn.init.normal_(linear.weight, std=gain / 8)
        layers += [linear, nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear(64, 10))


def picky(depth: int = 4, gain: float = 1.2) -> nn.Module:
    if depth > LIMIT:
        raise RuntimeError(f"too deep: {depth}")
    return build(depth, gain)


def no_module() -> int:
    return 3


def samples() -> Tensor:
    return torch.rand(200, 4, generator=torch.Generator().manual_seed(0)) @ torch.ones(4, 64)


class Outer:
    build = staticmethod(build)


def shuffled() -> DataLoader[Tensor]:
    return DataLoader(load_digits().train, batch_size=50, shuffle=True)  # type: ignore[arg-type]


def labelled() -> DataLoader[tuple[Tensor, ...]]:
    digits = load_digits()
    return DataLoader(TensorDataset(digits.train, digits.train_labels), batch_size=32)


def halved(output: Tensor, target: Tensor) -> Tensor:
    return cross_entropy(output, target) / 2


weighted = nn.CrossEntropyLoss(torch.ones(10))


def made_by_nobody(parameters: object) -> str:
    return "nobody"


def frozen() -> nn.Module:
    return build().requires_grad_(False)


def broken() -> nn.Module:
    model = build()
    with torch.no_grad():
        next(model.parameters())[0, 0] = torch.nan
    return model


class Choosing(nn.Sequential):
    """Says a class, which has no gradient."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).argmax(dim=1)  # type: ignore[no-any-return, no-untyped-call]


def choosing() -> nn.Module:
    return Choosing(*build().children())


def narrow() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(60, 10))


class Scaled(nn.Sequential):
    """Wants another argument, which no batch has."""

    def forward(self, x: Tensor, scale: float) -> Tensor:  # type: ignore[override]
        return super().forward(scale * x)  # type: ignore[no-any-return, no-untyped-call]


def scaled(depth: int = 4, gain: float = 1.2) -> nn.Module:
    return Scaled(*build(depth, gain).children())


def halving(model: nn.Module, batch: Tensor | tuple[Tensor, Tensor]) -> Tensor:
    output: Tensor = model(batch[0] if isinstance(batch, tuple) else batch, 0.5)
    return output


instance = build()
