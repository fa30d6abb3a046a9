"""Loaders and streams go on as without the probe, and are asked for no more than needed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import recent_prune as rp
from tests.networks import Noisy
from tests.probe.first_steps.training import DATA, flat_of, training_of
from tests.probe.first_steps.trials import (
    Batch,
    model_state,
)


def loader(seed: int = 4, **other: Any) -> DataLoader[tuple[Tensor, ...]]:
    data = TensorDataset(torch.cat([x for x, _ in DATA]), torch.cat([y for _, y in DATA]))
    generator = torch.Generator().manual_seed(seed)
    return DataLoader(data, 32, shuffle=True, generator=generator, **other)


@pytest.mark.parametrize(
    "other",
    [{}, {"num_workers": 1, "persistent_workers": True}],
    ids=["no workers", "persistent workers"],
)
@pytest.mark.parametrize("started", [False, True], ids=["new", "started"])
def test_a_data_loader_goes_on_as_without_the_probe(other: Any, started: bool) -> None:
    def epochs(probed: bool) -> list[Tensor]:
        torch.manual_seed(3)
        model, shuffled = Noisy(), loader(**other)
        found = [y for _, y in shuffled] if started else []
        if probed:
            rp.probe(model, shuffled, training=training_of(torch.optim.Adam(model.parameters())))
        return found + [y for _ in range(2) for _, y in shuffled]

    with_probe, without = epochs(probed=True), epochs(probed=False)
    assert len(with_probe) == len(without)
    assert all(map(torch.equal, with_probe, without))


class Stream(IterableDataset[Batch]):
    """Drawn one by one; counts what was drawn."""

    drawn = 0

    def __iter__(self) -> Iterator[Batch]:
        for images, labels in DATA:
            for image, label in zip(images, labels, strict=True):
                self.drawn += 1
                yield image, label


def test_an_iterable_data_set_is_asked_for_no_more_than_needed() -> None:
    stream = Stream()
    whole = DataLoader(stream, batch_size=20)
    training = training_of(lambda p: torch.optim.SGD(p, 0.1), steps=3)
    found = rp.probe(Noisy(), whole, training=training, estimator=rp.Ridge(samples=100))
    assert stream.drawn == (3 + 5) * 20
    assert found.steps is not None
    assert len(found.steps.losses) == 3


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_loader_shorter_than_the_steps_is_gone_through_again(count: int) -> None:
    model = Noisy()
    before = model_state(model)
    found = rp.probe(model, DATA[:count], training=training_of(torch.optim.Adam(flat_of(model))))
    assert model_state(model) == before
    assert found.steps is not None
    assert len(found.steps.losses) == 6
    assert found.steps.loss_after < found.steps.loss_before


def test_the_result_does_not_depend_on_the_random_states_of_the_caller() -> None:
    model = Noisy()
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        training = training_of(lambda p: torch.optim.Adam(p, 1e-2))
        found.append(rp.probe(model, loader(), training=training))
        found.append(rp.probe(model, loader(seed=9), training=training))
    # A generator of the loader's own is the user's choice, and goes on from where it is.
    assert found[0] == found[2]
    assert found[1] == found[3]
    assert found[0] != found[1]
