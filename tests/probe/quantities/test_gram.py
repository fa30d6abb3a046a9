from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from recent_prune.probe import gram_entropy
from recent_prune.probe.quantities.gram import DIRECTIONS, LayerGram, feature_rows, layer_gram
from recent_prune.probe.quantities.measures import activation_sizes, gram_entropies, retained_share


def sample(n: int, *features: int) -> Tensor:
    return torch.randn(n, *features, dtype=torch.float64) + 2


@pytest.mark.parametrize("features", [5, 40])
def test_kernel_is_that_of_the_centred_scaled_activations(features: int) -> None:
    activations = sample(20, features)
    gram = layer_gram(activations, 3, 100)
    centred = activations - activations[:17].mean(0)
    expected = centred[:17] @ centred[:17].T / features / activations.abs().max() ** 2
    kernel = gram.kernel if features == 40 else gram.kernel @ gram.kernel.T
    torch.testing.assert_close(kernel, expected)
    assert gram.kernel.shape == (17, min(17, features))
    cross = centred[17:] @ centred[:17].T / features / activations.abs().max() ** 2
    torch.testing.assert_close(gram.cross, cross)


def test_sizes_are_those_of_the_raw_activations() -> None:
    activations = sample(20, 40)
    rms, share = activation_sizes([layer_gram(activations, 0, 100)])
    assert float(rms) == pytest.approx(float(activations.square().mean().sqrt()))
    variance = (activations - activations.mean(0)).square().mean()
    assert float(share) == pytest.approx(float(variance / activations.square().mean()))


def test_gram_entropy_is_that_of_every_third_sample() -> None:
    activations = sample(192, 40)
    entropies = gram_entropies([layer_gram(activations, 0, 100)])
    assert float(entropies) == pytest.approx(float(gram_entropy(activations[::3])))
    assert len(activations[::3]) == DIRECTIONS


def test_gram_entropy_of_samples_without_direction() -> None:
    """Constant samples, also of a number that has no exact mean, and all but vanishing ones."""
    activations = sample(20, 40).float()
    activations[3], activations[5] = 0, 0.1
    activations[7] *= 1e-22
    activations[8] *= 1e-6
    without = activations.clone()
    without[7] = 0
    entropies = gram_entropies([layer_gram(activations, 0, 100)])
    assert float(entropies) == pytest.approx(float(gram_entropy(without)), rel=1e-5)


def test_no_activation_has_neither_size_nor_entropy() -> None:
    dead = layer_gram(torch.zeros(20, 4), 0, 100)
    rms, share = activation_sizes([dead])
    assert float(rms) == float(share) == float(gram_entropies([dead])) == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_shows_also_outside_the_chosen_features(bad: float) -> None:
    for place in range(0, 1000, 97):
        activations = torch.rand(20, 1000)
        activations[3, place] = bad
        assert not torch.isfinite(layer_gram(activations, 0, 50).scale)


def test_features_are_a_fixed_part_spread_over_all() -> None:
    maps = torch.arange(2 * 8 * 30 * 30.0).reshape(2, 8, 30, 30)
    rows = feature_rows(maps, 100)
    assert rows.shape == (2, 100)
    assert torch.equal(rows, feature_rows(maps, 100))
    assert torch.equal(rows[1] - rows[0], torch.full((100,), 7200.0))
    stretches = (rows[0] / 72).long()
    assert stretches.tolist() == list(range(100))


def test_a_part_of_the_features_stands_for_all() -> None:
    """Scales and kernels keep their meaning, which they would not after pooling."""
    activations = torch.randn(30, 20) @ torch.randn(20, 30_000)
    full, part = layer_gram(activations, 0, 10**6), layer_gram(activations, 0, 4096)
    assert float(part.variance / full.variance) == pytest.approx(1, rel=0.05)
    error = (part.kernel - full.kernel).norm() / full.kernel.norm()
    assert float(error) < 0.1


def test_half_precision_is_summed_in_single() -> None:
    gram = layer_gram(torch.rand(20, 40).bfloat16(), 0, 100)
    assert {tensor.dtype for tensor in gram} == {torch.float32}


def test_runs_under_vmap() -> None:
    stack = torch.rand(3, 20, 40)
    together = torch.vmap(lambda a: layer_gram(a, 2, 10, 3))(stack)
    assert isinstance(together, LayerGram)
    for i, activations in enumerate(stack):
        for one, all_ in zip(layer_gram(activations, 2, 10, 3), together, strict=True):
            torch.testing.assert_close(all_[i], one, equal_nan=True)


def test_retained_share_of_given_reconstructions() -> None:
    inputs = sample(20, 6)
    mean = torch.zeros(6).double()
    assert retained_share(inputs, inputs, mean) == 1
    assert retained_share(inputs, 0 * inputs, mean) == 0
    assert retained_share(inputs, 0.5 * inputs, mean) == pytest.approx(0.75)
    assert retained_share(inputs, -inputs, mean) == 0
    assert retained_share(0 * inputs, inputs, mean) == 0
