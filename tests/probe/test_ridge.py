from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recent_prune.probe import Ridge, probe
from recent_prune.probe.measures import Split, retained_share
from recent_prune.probe.ridge import _cholesky, held_out_mask, retained_shares, ridge_smoothers
from tests.networks import mlp

Array = npt.NDArray[np.float64]


def textbook_ridge(fit: Array, new: Array, inputs: Array, noise_floor: float) -> Array:
    """Ridge regression as in textbooks: weights from the normal equations, one output a time."""
    n, d = fit.shape
    features = (fit - fit.mean(0)) / math.sqrt(d)
    penalty = n * noise_floor * np.eye(d)
    columns = []
    for target in inputs.T:
        weights = np.linalg.solve(
            features.T @ features + penalty, features.T @ (target - target.mean())
        )
        columns.append(target.mean() + (new - fit.mean(0)) / math.sqrt(d) @ weights)
    return np.stack(columns, axis=1)


def sample(seed: int, n: int, d: int, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(n, d, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("features", [5, 40], ids=["fewer than samples", "more than samples"])
@given(st.integers(0, 1000), st.sampled_from([1e-3, 1.0, 1e3]))
@settings(max_examples=20)
def test_agrees_with_textbook_twin(features: int, seed: int, scale: float) -> None:
    fit, new = sample(seed, 20, features, scale), sample(seed + 1, 7, features, scale)
    inputs = sample(seed + 2, 20, 3)
    for floor in (1e-1, 1e-2, 1e-4):
        if floor < 1e-4 * scale**2:
            continue  # below the relative floor, which textbooks do not have
        smoother = ridge_smoothers(fit, new, [floor])[0]
        ours = inputs.mean(0) + smoother @ (inputs - inputs.mean(0))
        expected = textbook_ridge(fit.numpy(), new.numpy(), inputs.numpy(), floor)
        np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-7, atol=1e-9)


@given(st.integers(0, 1000))
@settings(max_examples=20)
def test_retained_in_sample_space_is_that_of_the_reconstructions(seed: int) -> None:
    inputs = Split(sample(seed, 20, 6), sample(seed + 1, 8, 6), sample(0, 0, 6))
    smoothers = torch.stack([sample(seed + 2, 8, 20, 0.05), torch.zeros(8, 20).double()])
    shares = retained_shares(smoothers, inputs)
    for smoother, share in zip(smoothers, shares, strict=True):
        reconstructions = inputs.mean + smoother @ (inputs.fit - inputs.mean)
        expected = retained_share(inputs.held_out, reconstructions, inputs.mean)
        assert float(share) == pytest.approx(expected, abs=1e-12)


@given(st.integers(0, 1000), st.permutations(range(12)), st.permutations(range(30)))
@settings(max_examples=20)
def test_invariant_under_permutations(seed: int, features: list[int], order: list[int]) -> None:
    fit, new, inputs = sample(seed, 30, 12), sample(seed + 1, 7, 12), sample(seed + 2, 30, 4)
    plain = ridge_smoothers(fit, new, [1e-2]) @ inputs
    permuted = ridge_smoothers(fit[order][:, features], new[:, features], [1e-2]) @ inputs[order]
    torch.testing.assert_close(permuted, plain)


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-10, 1e15, 1e30, 8e37])
def test_extreme_activations_give_finite_smoothers(scale: float) -> None:
    fit, new = sample(0, 30, 12, scale).float(), sample(1, 7, 12, scale).float()
    smoothers = ridge_smoothers(fit, new, [0.0, 1e-10, 1e-1])
    assert torch.isfinite(smoothers).all()


def test_products_of_low_precision_still_have_a_factor() -> None:
    """As with TF32: rounding leaves the kernel indefinite by a thousandth of its size."""
    rows = sample(0, 30, 12)
    kernel = rows @ rows.T
    kernel -= 1e-3 * kernel.trace() / 30 * torch.eye(30).double()
    with pytest.raises(RuntimeError, match="not positive-definite"):
        torch.linalg.cholesky(kernel)
    factors = _cholesky(kernel, 30, torch.tensor([1e-10, 10.0]).double())
    assert torch.isfinite(factors).all()
    torch.testing.assert_close(
        factors[1] @ factors[1].T, kernel + 30 * 10.0 * torch.eye(30).double()
    )


@given(st.integers(0, 100))
@settings(max_examples=10)
def test_exploding_networks_never_fail(digits: Tensor, seed: int) -> None:
    model = mlp(depth=30, width=32, activation="relu", weight_variance=9.0, seed=seed)
    assert len(probe(model, digits).retained) == 30


def test_signal_below_the_noise_floor_is_lost() -> None:
    """Exact arithmetic could still decode it; a network that is trained cannot."""
    inputs = Split.by(sample(0, 40, 4), held_out_mask(40, 0.25, torch.device("cpu")), 0)
    for scale, floor, expected in ((1.0, 1e-4, 1.0), (1e-4, 1e-4, 0.0), (1e-4, 1e-12, 1.0)):
        smoothers = ridge_smoothers(scale * inputs.fit, scale * inputs.held_out, [floor])
        assert float(retained_shares(smoothers, inputs)) == pytest.approx(expected, abs=0.01)


def test_retained_is_the_mean_over_noise_floors(digits: Tensor) -> None:
    model = mlp(weight_variance=0.3)
    floors = (1e-1, 1e-4, 1e-7)
    each = [probe(model, digits, estimator=Ridge((floor,))).retained for floor in floors]
    together = probe(model, digits, estimator=Ridge(floors)).retained
    assert together == pytest.approx(np.mean(each, axis=0))
    assert len({values[-1] for values in each}) > 1


def test_held_out_samples_are_spread_evenly() -> None:
    mask = held_out_mask(100, 0.25, torch.device("cpu"))
    assert mask.sum() == 25
    assert mask.reshape(25, 4).sum(dim=1).tolist() == [1] * 25
    assert held_out_mask(16, 0.01, torch.device("cpu")).sum() == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"noise_floors": ()}, r"`noise_floors` must hold numbers ≥ 0, .* but got \(\)"),
        ({"noise_floors": (-1.0,)}, r"`noise_floors` .* but got \(-1.0,\)"),
        ({"noise_floors": (math.nan,)}, r"`noise_floors` .* but got \(nan,\)"),
        ({"samples": 15}, "`samples` must be at least 16, but got 15"),
        ({"held_out": 1.0}, r"`held_out` must lie in \(0, 1\), but got 1.0"),
    ],
)
def test_refuses_bad_settings(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Ridge(**arguments)  # type: ignore[arg-type]
