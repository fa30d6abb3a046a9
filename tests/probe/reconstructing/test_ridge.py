from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recent_prune.probe import Ridge, probe
from recent_prune.probe.quantities.gram import LayerGram, layer_gram
from recent_prune.probe.reconstructing import ridge
from recent_prune.probe.reconstructing.targets import Targets
from tests.networks import mlp


def sample(seed: int, n: int, d: int, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(n, d, generator=generator, dtype=torch.float64)


def gram(activations: Tensor, shown: int = 0) -> LayerGram:
    return layer_gram(activations, shown, 10_000)


@pytest.mark.parametrize("features", [12, 50])
@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-10, 1e15, 1e30, 8e37])
def test_extreme_activations_give_finite_numbers(scale: float, features: int) -> None:
    activations = sample(0, 30, features, scale).float()
    targets = Targets(sample(1, 30, 4).float(), 0)
    (layer,) = Ridge((0.0, 1e-10, 0.1)).solve(["one"], [gram(activations)], targets)
    numbers = {k: v for k, v in vars(layer).items() if isinstance(v, float)}
    assert math.isnan(numbers.pop("jacobian_norm"))  # nothing was perturbed
    assert all(math.isfinite(value) for value in numbers.values())
    assert layer.activation_rms == pytest.approx(
        float(activations.double().square().mean().sqrt()), rel=1e-4
    )


@given(st.integers(0, 100))
@settings(max_examples=10)
def test_exploding_networks_never_fail(digits: Tensor, seed: int) -> None:
    model = mlp(depth=30, width=32, activation="relu", weight_variance=9.0, seed=seed)
    assert len(probe(model, digits).retained) == 30


def test_retained_is_the_mean_over_noise_floors(digits: Tensor) -> None:
    model = mlp(weight_variance=0.3)
    floors = (1e-1, 1e-4, 1e-7)
    each = [probe(model, digits, estimator=Ridge((floor,))).retained for floor in floors]
    together = probe(model, digits, estimator=Ridge(floors)).retained
    assert together == pytest.approx(np.mean(each, axis=0), abs=1e-5)
    assert len({values[-1] for values in each}) > 1


def test_relative_floor_is_the_least(digits: Tensor) -> None:
    """It bounds what healthy layers retain, and leaves to the absolute floors what is weak."""
    model = mlp(depth=4, width=64)
    fine, coarse = (
        probe(model, digits, estimator=Ridge((0.0,), relative_floor)).retained
        for relative_floor in (1e-4, 0.3)
    )
    assert all(a > b for a, b in zip(fine, coarse, strict=True))
    unbounded = probe(model, digits, estimator=Ridge((10.0,), 1e-4)).retained
    assert unbounded == probe(model, digits, estimator=Ridge((10.0,), 1e-2)).retained


def test_layers_solved_together_are_as_if_solved_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Narrow, wide and infinite ones, more than the workspace holds."""
    monkeypatch.setitem(ridge.WORKSPACE, "cpu", 10 * 30 * 30 * 8 * 9)
    targets = Targets(sample(0, 32, 4), 2)
    grams = [gram(sample(i, 32, 5 if i % 3 else 50, 10.0 ** -(i % 4)), 2) for i in range(40)]
    grams[7] = grams[7]._replace(scale=torch.tensor(math.inf).double())
    names = [f"layer{i}" for i in range(40)]
    for name, one, layer in zip(names, grams, Ridge().solve(names, grams, targets), strict=True):
        (alone,) = Ridge().solve([name], [one], targets)
        assert layer.name == name
        assert layer.finite == alone.finite == (name != "layer7")
        if layer.finite:
            assert layer.retained == pytest.approx(alone.retained, abs=1e-9)
            assert layer.relative_entropy == pytest.approx(alone.relative_entropy)
            assert layer.reconstructions is not None
            torch.testing.assert_close(layer.reconstructions, alone.reconstructions)


@pytest.mark.parametrize(
    ("seed", "weight_variance"),
    [(0, 0.3), (1, 1.76), (2, 4.0)],
    ids=["ordered", "critical", "chaotic"],
)
def test_single_precision_is_enough(digits: Tensor, seed: int, weight_variance: float) -> None:
    """The table of precisions in ``benchmarks/probe_cost`` in small."""
    model = mlp(depth=20, width=200, weight_variance=weight_variance, seed=seed)
    single = probe(model, digits).retained
    double = probe(model.double(), digits.double()).retained
    assert single == pytest.approx(double, abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"noise_floors": ()}, r"`noise_floors` must hold numbers ≥ 0, .* but got \(\)"),
        ({"noise_floors": (-1.0,)}, r"`noise_floors` .* but got \(-1.0,\)"),
        ({"noise_floors": (math.nan,)}, r"`noise_floors` .* but got \(nan,\)"),
        ({"relative_floor": 1e-7}, "`relative_floor` must be at least 1e-06, .* but got 1e-07"),
        ({"samples": 15}, "`samples` must be at least 16, but got 15"),
    ],
)
def test_refuses_bad_settings(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Ridge(**arguments)  # type: ignore[arg-type]
