from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Sampler, TensorDataset

import recent_prune as rp
from recent_prune.probe.restoring.generators import kept
from tests.networks import mlp

X, Y = torch.randn(256, 64, generator=torch.Generator().manual_seed(0)), torch.arange(256) % 10
DATA = TensorDataset(X, Y)


class Counting(Sampler[int]):
    """Its order is that of its epoch."""

    def __init__(self) -> None:
        self.epoch = 0

    def __iter__(self) -> Iterator[int]:
        drawn = torch.Generator().manual_seed(self.epoch)
        self.epoch += 1
        return iter(torch.randperm(len(X), generator=drawn).tolist())

    def __len__(self) -> int:
        return len(X)


class Drawing(Counting):
    def __init__(self) -> None:
        self.rng = torch.Generator().manual_seed(0)

    def __iter__(self) -> Iterator[int]:
        return iter(torch.randperm(len(X), generator=self.rng).tolist())


class Noisy(Dataset[tuple[Tensor, Tensor]]):
    def __init__(self, generator: Any) -> None:
        self.generator = generator

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        draw = self.generator
        noise = draw.gauss(0, 1) if isinstance(draw, random.Random) else draw.normal()
        return X[index] + 0.1 * float(noise), Y[index]


@pytest.mark.parametrize(
    "make",
    [
        lambda: DataLoader(DATA, 64, sampler=Counting()),
        lambda: DataLoader(DATA, 64, sampler=Drawing()),
        lambda: DataLoader(Noisy(np.random.default_rng(0)), 64),
        lambda: DataLoader(Noisy(np.random.RandomState(0)), 64),
        lambda: DataLoader(ConcatDataset([DATA, Noisy(random.Random(0))]), 64),
    ],
)
@pytest.mark.parametrize("trained", [False, True])
def test_batches_come_as_without_a_probe(make: Callable[[], Any], trained: bool) -> None:
    expected = [x.clone() for x, _ in make()]
    loader, model = make(), mlp()
    training = rp.Training(cross_entropy, SGD(model.parameters(), 0.1)) if trained else None
    rp.probe(model, loader, training=training)
    assert all(torch.equal(x, other) for (x, _), other in zip(loader, expected, strict=True))


class Loading(Dataset[tuple[Tensor, Tensor]]):
    """Loads its samples when the first is asked for."""

    def __init__(self) -> None:
        self.items: list[tuple[Tensor, Tensor]] = []
        self.loaded = False

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if not self.loaded:
            self.items.extend(zip(X, Y, strict=True))
            self.loaded = True
        return self.items[index]


def test_what_a_data_set_has_loaded_stays_loaded() -> None:
    loader = DataLoader(Loading(), 64)
    for _ in range(2):
        rp.probe(mlp(), loader)
    assert isinstance(loader.dataset, Loading)
    assert (len(loader.dataset.items), loader.dataset.loaded) == (256, True)


class Langevin(SGD):
    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, 0.1)
        self.noise = torch.Generator().manual_seed(0)

    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.data.add_(torch.randn(parameter.shape, generator=self.noise), alpha=1e-4)
        return super().step(closure)


def test_an_optimizer_draws_on_where_it_was() -> None:
    model = mlp()
    optimizer = Langevin(model.parameters())
    before = optimizer.noise.get_state()
    rp.probe(model, (X, Y), training=rp.Training(cross_entropy, optimizer))
    assert torch.equal(optimizer.noise.get_state(), before)


def test_what_is_no_generator() -> None:
    assert kept(nn.Linear(1, 1)) is None
    assert kept(3) is None
    assert kept(random.SystemRandom()) is None
