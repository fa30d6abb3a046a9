from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from recent_prune.probe.quantities.gram import layer_gram
from recent_prune.probe.reconstructing.leave_one_out import (
    BLOCK,
    LeaveOneOut,
    _inverse_root,
    _inverse_roots,
)
from recent_prune.probe.reconstructing.targets import COMPONENTS, Targets

Array = npt.NDArray[np.float64]


def textbook_leave_one_out(activations: Array, inputs: Array, noise_floor: float) -> Array:
    """Each sample reconstructed by a ridge regression on all others, from the normal equations.

    The ridge is the same for all folds, n s, and the mean is fitted with the weights.
    """
    n, d = activations.shape
    reconstructions = []
    for i in range(n):
        others = np.arange(n) != i
        mean, centre = activations[others].mean(0), inputs[others].mean(0)
        features = (activations[others] - mean) / math.sqrt(d)
        weights = np.linalg.solve(
            features.T @ features + n * noise_floor * np.eye(d),
            features.T @ (inputs[others] - centre),
        )
        reconstructions.append(centre + (activations[i] - mean) / math.sqrt(d) @ weights)
    return np.stack(reconstructions)


def sample(seed: int, n: int, d: int, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(n, d, generator=generator, dtype=torch.float64)


def leave_one_out(
    activations: Tensor, inputs: Tensor, *floors: float, shown: int = 0
) -> LeaveOneOut:
    """For one layer, with floors in squared units of its activations."""
    gram = layer_gram(activations, shown, 10_000)
    scaled = torch.tensor([floors], dtype=torch.float64) / gram.scale.double() ** 2
    return LeaveOneOut([gram], Targets(inputs, shown), scaled)


@pytest.mark.parametrize("features", [5, 40], ids=["narrow", "wide"])
@given(st.integers(0, 1000), st.sampled_from([1e-3, 1.0, 1e3]), st.sampled_from([0.1, 1e-2, 1e-6]))
def test_agrees_with_textbook_twin(features: int, seed: int, scale: float, floor: float) -> None:
    activations, inputs = sample(seed, 20, features, scale), sample(seed + 1, 20, 6)
    found = leave_one_out(activations, inputs, floor * scale**2)
    expected = textbook_leave_one_out(activations.numpy(), inputs.numpy(), floor * scale**2)
    judged = Targets(inputs, 0).judged
    np.testing.assert_allclose(
        found.reconstructions()[0].numpy(), expected[judged], rtol=1e-6, atol=1e-6
    )


@given(st.integers(0, 1000))
def test_retained_is_that_of_the_reconstructions(seed: int) -> None:
    """With fewer features than components, the components are the whole input."""
    activations, inputs = sample(seed, 30, 12), sample(seed + 1, 30, COMPONENTS - 10)
    inputs[:, :3] += activations[:, :3]
    share = float(leave_one_out(activations, inputs, 1e-2).retained)
    expected = textbook_leave_one_out(activations.numpy(), inputs.numpy(), 1e-2)
    # Judged against the mean of the other samples, as every reconstruction is.
    baseline = (inputs - inputs.mean(0)).square().sum() * (30 / 29) ** 2
    lost = (inputs - torch.from_numpy(expected)).square().sum()
    assert share == pytest.approx(max(float(1 - lost / baseline), 0), abs=1e-9)


def test_only_the_leading_components_are_judged() -> None:
    components, noise = sample(0, 40, 3), sample(1, 40, 60, 1e-3)
    inputs = torch.cat([components, noise], dim=1)
    assert Targets(inputs, 0).components.shape == (40, COMPONENTS)
    assert float(leave_one_out(components, inputs, 1e-6).retained) > 0.999
    targets = Targets(components, 0)
    scores = targets.components
    torch.testing.assert_close(scores @ scores.T, targets.rows @ targets.rows.T)


@given(st.integers(0, 1000), st.permutations(range(12)), st.permutations(range(30)))
def test_invariant_under_permutations(seed: int, features: list[int], order: list[int]) -> None:
    activations, inputs = sample(seed, 30, 12), sample(seed, 30, 4)
    plain = leave_one_out(activations, inputs, 1e-2).retained
    permuted = leave_one_out(activations[order][:, features], inputs[order], 1e-2).retained
    torch.testing.assert_close(permuted, plain)


@pytest.mark.parametrize("features", [4, 60], ids=["narrow", "wide"])
def test_signal_below_the_noise_floor_is_lost(features: int) -> None:
    """Exact arithmetic could still decode it; a network that is trained cannot."""
    inputs = sample(0, 40, 4)
    activations = inputs @ sample(1, 4, features)
    for scale, floor, expected in ((1.0, 1e-4, 1.0), (1e-4, 1e-4, 0.0), (1e-4, 1e-12, 1.0)):
        share = float(leave_one_out(scale * activations, inputs, floor).retained)
        assert share == pytest.approx(expected, abs=0.02)


def test_leave_one_out_is_no_self_deception(digits: Tensor) -> None:
    """Activations that know nothing of the input retain nothing, however many there are."""
    shares = leave_one_out(sample(0, 160, 500), digits[:160], 1e-2, 1e-6).retained
    assert float(shares.max()) < 0.02


def test_equal_floors_are_solved_once() -> None:
    activations, inputs = sample(0, 30, 12), sample(1, 30, 4)
    twice = leave_one_out(activations, inputs, 1e-2, 1e-2, 1e-4, 1e-2)
    assert len(twice._leverage) == 2
    once = leave_one_out(activations, inputs, 1e-2, 1e-4).retained[0]
    torch.testing.assert_close(twice.retained[0], once[[0, 0, 1, 0]])


@pytest.mark.parametrize("features", [4, 60], ids=["narrow", "wide"])
def test_shown_samples_are_reconstructed_from_all_others(features: int) -> None:
    inputs = sample(0, 42, 4)
    activations = inputs @ sample(1, 4, features)
    (found,) = leave_one_out(activations, inputs, 1e-8, shown=2).shown()
    assert found is not None
    torch.testing.assert_close(found, inputs[40:], atol=0.01, rtol=0.01)
    assert leave_one_out(activations, inputs, 1e-8).shown() == [None]


def test_products_of_low_precision_still_have_a_factor() -> None:
    """As with TF32: rounding leaves the kernel indefinite."""
    rows = sample(0, 30, 50)
    kernel = rows @ rows.T
    kernel[0, 0] -= 10 * kernel[0, 0]
    floors = torch.tensor([1e-3, 1e3]).double()
    roots, used = _inverse_roots(kernel[None], torch.tensor([0, 0]), floors)
    assert used[0] > floors[0]
    assert used[1] == floors[1]
    system = kernel / 1e3 + torch.eye(30).double()
    torch.testing.assert_close(roots[1].T @ roots[1], torch.linalg.inv(system))


@pytest.mark.parametrize("size", [1, BLOCK, BLOCK + 1, 3 * BLOCK + 7])
def test_inverse_root_by_blocks(size: int) -> None:
    rows = sample(0, size, size)
    system = rows @ rows.T / size + torch.eye(size).double()
    for broken in {0, size // 2, size - 1}:
        indefinite = system.clone()
        indefinite[broken, broken] = -1
        roots, failed = _inverse_root(torch.stack([system, indefinite]))
        assert failed.tolist() == [False, True]
        expected = torch.linalg.inv(torch.linalg.cholesky(system))
        torch.testing.assert_close(roots[0], expected)
