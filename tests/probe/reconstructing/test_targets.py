from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from recent_prune.probe.quantities.gram import layer_gram
from recent_prune.probe.reconstructing.leave_one_out import LeaveOneOut
from recent_prune.probe.reconstructing.targets import COMPONENTS, JUDGED, Targets


@pytest.mark.parametrize("features", [9, 400])
@pytest.mark.parametrize("relative_floor", [1e-4, 0.03])
def test_redundancy_is_what_a_layer_that_repeats_its_input_retains(
    features: int, relative_floor: float
) -> None:
    inputs = torch.randn(50, 20, dtype=torch.float64) @ torch.randn(20, features).double()
    targets = Targets(inputs, 0)
    own = layer_gram(inputs, 0, 10_000)
    floors = (relative_floor * own.variance)[None, None]
    expected = float(LeaveOneOut([own], targets, floors).retained)
    assert targets.redundancy(relative_floor) == pytest.approx(expected, abs=1e-9)


def test_redundancy_tells_images_from_noise(digits: Tensor) -> None:
    assert Targets(digits[:160], 0).redundancy(0.03) > 0.8
    assert Targets(torch.randn(160, 1000), 0).redundancy(0.03) < 0.3


@pytest.mark.parametrize("value", [0.0, math.nan])
def test_what_holds_nothing_is_not_called_noise(value: float) -> None:
    assert Targets(torch.full((160, 9), value), 0).redundancy(0.03) == 1.0


def test_components_are_orthogonal_and_decrease(digits: Tensor) -> None:
    scores = Targets(digits[:160], 0).components
    products = scores.T @ scores
    assert scores.shape == (160, COMPONENTS)
    torch.testing.assert_close(products, products.diagonal().diag())
    assert bool((products.diagonal().diff() <= 0).all())


def test_judged_samples_are_spread_evenly(digits: Tensor) -> None:
    targets = Targets(digits[:160], 0)
    assert targets.judged.tolist() == list(range(0, 160, 3))
    assert len(targets.judged) <= JUDGED
    torch.testing.assert_close(targets.judged_rows, digits[:160:3].flatten(1))
