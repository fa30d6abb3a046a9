"""Against values from the literature and from long simulations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from recent_prune import networks
from recent_prune.mean_field import correlation_length, critical_weight_variance


@pytest.mark.parametrize(("bias", "critical"), [(0.05, 1.761), (2e-5, 1.050)])
def test_critical_weight_variance_of_tanh(bias: float, critical: float) -> None:
    assert critical_weight_variance(bias) == pytest.approx(critical, abs=1e-3)


@pytest.mark.parametrize(
    ("weight", "six_xi"), [(1.0, 22), (1.5, 95), (2.0, 151), (2.5, 71), (4.0, 42)]
)
def test_trainable_depth_of_tanh(weight: float, six_xi: float) -> None:
    assert 6 * correlation_length(weight, 0.05) == pytest.approx(six_xi, rel=0.03)


def test_relu_is_critical_at_two() -> None:
    assert critical_weight_variance(0.05, "relu") == pytest.approx(2.0, rel=0.02)
    assert correlation_length(2.0, 0.0, "relu") > 50


def test_diverges_at_the_critical_point() -> None:
    critical = critical_weight_variance(0.05)
    assert correlation_length(critical, 0.05) > 5 * correlation_length(critical - 0.3, 0.05)
    assert math.isfinite(correlation_length(critical, 0.05))


def test_two_inputs_of_a_wide_network_approach_each_other_at_this_rate() -> None:
    missing = np.zeros(9)
    for seed in range(4):
        model = networks.mlp(
            1000, 10, depth=10, width=1000, weight_variance=1.0, bias_variance=0.05, seed=seed
        ).requires_grad_(False)
        x = torch.randn(2, 1000, generator=torch.Generator().manual_seed(seed))
        layers = [x := module(x) for module in model]
        pairs = [y for y, module in zip(layers, model, strict=True) if hasattr(module, "weight")]
        missing += [1 - float(torch.cosine_similarity(y[0], y[1], dim=0)) for y in pairs[:9]]
    rate = np.polyfit(range(5), np.log(missing[4:]), 1)[0]
    assert -1 / rate == pytest.approx(correlation_length(1.0, 0.05), rel=0.15)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="`weight_variance` must be ≥ 0, but got -1"):
        correlation_length(-1.0, 0.05)
    with pytest.raises(ValueError, match=r"`activation` must be one of \['tanh', .*, but got 'x'"):
        correlation_length(1.0, 0.05, "x")
    with pytest.raises(ValueError, match="'sigmoid' has no critical `weight_variance` between"):
        critical_weight_variance(0.05, "sigmoid")
