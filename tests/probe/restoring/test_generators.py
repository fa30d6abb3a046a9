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
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    Sampler,
    Subset,
    TensorDataset,
)

import recent_prune as rp
from recent_prune.probe.batches.inputs import loader_restored
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


class Collating:
    """Adds noise to each batch, more from the second on."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(0)
        self.calls = 0

    def __call__(self, samples: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        self.calls += 1
        x, y = (torch.stack(part) for part in zip(*samples, strict=True))
        return x + 0.1 * self.calls * torch.randn(x.shape, generator=self.generator), y

    def collate(self, samples: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        return self(samples)


class Jitter:
    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def __call__(self, x: Tensor) -> Tensor:
        return x + self.rng.normal()


class Composed:
    """As of a library: its attributes are not looked at, but for parts that have a name."""

    __module__ = "torch.transforms"

    def __init__(self, *transforms: Any) -> None:
        self.transforms = list(transforms)

    def __call__(self, x: Tensor) -> Tensor:
        for transform in self.transforms:
            x = transform(x)
        return x


class Transformed(Dataset[tuple[Tensor, Tensor]]):
    """Its samples are brighter, the more were asked for."""

    def __init__(self, transform: Any) -> None:
        self.transform = transform
        self.asked = 0

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        self.asked += 1
        return self.transform(X[index]) + self.asked / 100, Y[index]


class Stream(IterableDataset[tuple[Tensor, Tensor]]):
    def __init__(self) -> None:
        self.epoch = 0

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(X), generator=torch.Generator().manual_seed(self.epoch))
        self.epoch += 1
        return ((X[i], Y[i]) for i in order.tolist())


class Shuffling:
    """A batch sampler that is nothing but a class."""

    def __init__(self) -> None:
        self.rng, self.order, self.epoch = random.Random(0), list(range(len(X))), 0
        self.weights = np.ones(4)

    def __iter__(self) -> Iterator[list[int]]:
        self.rng.shuffle(self.order)
        self.epoch += 1
        self.weights *= 2
        kept = self.order[: 192 + int(self.weights[0])]
        return (kept[i : i + 64] for i in range(0, len(kept), 64))

    def __len__(self) -> int:
        return 4


@pytest.mark.parametrize(
    "make",
    [
        lambda: DataLoader(DATA, 64, sampler=Counting()),
        lambda: DataLoader(DATA, 64, sampler=Drawing()),
        lambda: DataLoader(Noisy(np.random.default_rng(0)), 64),
        lambda: DataLoader(Noisy(np.random.RandomState(0)), 64),
        lambda: DataLoader(ConcatDataset([DATA, Noisy(random.Random(0))]), 64),
        lambda: DataLoader(DATA, 64, collate_fn=Collating()),
        lambda: DataLoader(DATA, 64, collate_fn=Collating().collate),
        lambda: DataLoader(Transformed(Composed(Jitter())), 64),
        lambda: DataLoader(Subset(Transformed(Jitter()), range(192)), 64),
        lambda: DataLoader(Stream(), 64),
        lambda: DataLoader(DATA, batch_sampler=Shuffling()),
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
        self.count = 0

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if not self.loaded:
            self.items.extend(zip(X, Y, strict=True))
            self.loaded, self.count = True, len(self.items)
        return self.items[index]


def test_what_a_data_set_has_loaded_stays_loaded() -> None:
    loader = DataLoader(Loading(), 64)
    for _ in range(2):
        rp.probe(mlp(), loader)
    assert isinstance(loader.dataset, Loading)
    assert (len(loader.dataset.items), loader.dataset.loaded) == (256, True)
    assert loader.dataset.count == 256


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


class Going:
    """Counts what it has drawn from an iterator, which cannot be put back."""

    def __init__(self) -> None:
        self.source, self.drawn = iter(zip(X.split(64), Y.split(64), strict=True)), 0

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in self.source:
            self.drawn += 1
            yield batch


def test_a_count_of_what_was_drawn_stays() -> None:
    loader = Going()
    with loader_restored(loader):
        next(iter(loader))
    assert loader.drawn == 1


class Closed:
    """Cannot be asked for its parts."""

    dataset = property(lambda self: 1 / 0)

    def __iter__(self) -> Iterator[Tensor]:
        return iter(X.split(64))


def test_a_loader_that_cannot_be_asked() -> None:
    assert rp.probe(mlp(), Closed()).retained


class Noised(Dataset[Tensor]):
    """Draws a number for each sample."""

    def __init__(self) -> None:
        self.draw = np.random.default_rng(0)

    def __getitem__(self, index: int) -> Tensor:
        return X[index % len(X)] + float(self.draw.random())


def test_a_list_of_indices_hides_no_data_set() -> None:
    data = Noised()
    indices = list(range(3_000))
    loader = DataLoader(Subset(data, indices), sampler=indices, batch_size=64)
    before = data.draw.bit_generator.state
    with loader_restored(loader):
        next(iter(loader))
        assert data.draw.bit_generator.state != before
    assert data.draw.bit_generator.state == before
