"""How memory grows with the batch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from recent_prune.preflight.peaks import envelope
from tests.preflight.trials import adam, estimate, mlp


def batch(size: int) -> tuple[Tensor, Tensor]:
    return torch.zeros(size, 256), torch.zeros(size, dtype=torch.long)


def convolutional() -> nn.Module:
    layers = [nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3)]
    return nn.Sequential(nn.Unflatten(1, (1, 16, 16)), *layers, nn.Flatten(), nn.LazyLinear(10))


def built() -> nn.Module:
    model = convolutional()
    model(torch.zeros(2, 256))
    return model


@pytest.mark.parametrize("size", [2, 8, 64, 512])
@pytest.mark.parametrize("make", [mlp, built])
def test_the_largest_batch_fits_and_a_tenth_more_does_not(make: object, size: int) -> None:
    limit = 256 * 2**20
    model = make() if callable(make) else None
    most = estimate(model, adam, batch(size)).largest_batch(limit)
    # Two gradients that are added up, for one, do not matter at two samples.
    assert estimate(model, adam, batch(most)).fits(1.02 * limit)
    assert not estimate(model, adam, batch(round(1.1 * most))).fits(limit)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([(1.0, 0.0)], ((1.0, 0.0),)),
        ([(1.0, 2.0), (3.0, 1.0), (0.0, 2.0)], ((3.0, 1.0), (1.0, 2.0))),
        ([(3.0, 0.0), (2.0, 1.0), (0.0, 2.0)], ((3.0, 0.0), (2.0, 1.0), (0.0, 2.0))),
        ([(3.0, 0.0), (0.5, 1.0), (0.0, 2.0)], ((3.0, 0.0), (0.0, 2.0))),
        ([(3.0, 1.0), (1.0, 0.0), (2.0, -1.0)], ((3.0, 1.0),)),
    ],
)
def test_the_envelope_holds_what_is_the_largest_somewhere(
    lines: list[tuple[float, float]], expected: tuple[tuple[float, float], ...]
) -> None:
    found = envelope(lines)
    assert found == expected
    for size in (0, 1, 2, 10, 1000):
        assert max(a + b * size for a, b in found) == max(a + b * size for a, b in lines)
