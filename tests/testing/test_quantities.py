"""Our own quantities under the contract of a quantity, and quantities that break it."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from recent_prune.probe import differential_entropy, gram_entropy, relative_entropy
from recent_prune.testing import QuantityContract
from tests.probe.quantities.test_entropies import (
    naive_differential_entropy,
    naive_gram_entropy,
    naive_relative_entropy,
    random_samples,
)


class TestRelativeEntropy(QuantityContract):
    bounds = (0.0, math.inf)

    def quantity(self, *samples: Tensor) -> Tensor:
        return relative_entropy(*samples)

    def twin(self, *samples: Tensor) -> list[float]:
        pairs = zip(*(tensor.numpy() for tensor in samples), strict=True)
        return [naive_relative_entropy(p, q) for p, q in pairs]

    def samples(self, seed: int) -> tuple[Tensor, ...]:
        return random_samples(seed, d=8), random_samples(seed + 100, d=8) - 0.3


class TestDifferentialEntropy(QuantityContract):
    def quantity(self, *samples: Tensor) -> Tensor:
        return differential_entropy(*samples)

    def twin(self, *samples: Tensor) -> float:
        return naive_differential_entropy(samples[0].numpy())


class TestGramEntropy(QuantityContract):
    bounds = (0.0, 1.0)

    def quantity(self, *samples: Tensor) -> Tensor:
        return gram_entropy(*samples)

    def twin(self, *samples: Tensor) -> float:
        return naive_gram_entropy(samples[0].numpy())


class Broken(QuantityContract):
    """Not collected: its tests are to fail."""

    bounds = (0.0, 1.0)

    def __init__(self, quantity: Callable[[Tensor], Tensor]) -> None:
        self._quantity = quantity

    def quantity(self, *samples: Tensor) -> Tensor:
        return self._quantity(*samples)

    def twin(self, *samples: Tensor) -> float:
        return float(samples[0].mean())


def drawn(samples: Tensor) -> Tensor:
    return samples.mean() + torch.rand(())


def in_place(samples: Tensor) -> Tensor:
    return samples.sub_(samples.mean()).sum()


@pytest.mark.parametrize(
    ("quantity", "test", "told"),
    [
        (lambda x: x.median(), "agrees_with_its_twin", "seed 0, twin"),
        (drawn, "says_the_same_twice_and_leaves_its_arguments_alone", "when asked again"),
        (in_place, "says_the_same_twice_and_leaves_its_arguments_alone", "another|changed"),
        (lambda x: x.mul_(1.5).max() * 0, "says_the_same_twice_and_leaves", "was changed"),
        (
            lambda x: (0 * x.std(dim=0).log()).mean(),
            "is_finite_and_within",
            "same sample .*: not finite",
        ),
        (lambda x: x.sum(), "is_finite_and_within", r"is not in \[0.0, 1.0\]"),
        (lambda x: x.sum(dim=1).mean(), "the_shape_of_the_features", "as images"),
        (lambda x: x.flatten(1)[0].mean(), "the_order_of_the_samples", "in reverse"),
        (lambda x: x.nan_to_num(posinf=0).mean(), "nan_comes_out", "nan in argument 0 does not"),
        (lambda x: 1e9 * ((1 + 1e-9 * x) - 1).mean(), "single_precision", "in single precision"),
    ],
)
def test_a_quantity_that_breaks_it_is_told(
    quantity: Callable[[Tensor], Tensor], test: str, told: str
) -> None:
    (name,) = [name for name in dir(Broken) if name.startswith(f"test_{test}")]
    with pytest.raises(AssertionError, match=told):
        getattr(Broken(quantity), name)()


def test_quantity_and_twin_must_be_said() -> None:
    with pytest.raises(NotImplementedError, match="QuantityContract must say its quantity"):
        QuantityContract().quantity()
    with pytest.raises(NotImplementedError, match="QuantityContract must say its twin"):
        QuantityContract().twin()
