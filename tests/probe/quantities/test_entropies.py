"""Beside the contract of a quantity, under which ``tests/testing`` has them."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from recent_prune.probe import differential_entropy, gram_entropy, relative_entropy
from recent_prune.probe.quantities.entropies import relative_entropies
from tests.conftest import Reference

Array = npt.NDArray[np.float64]


def naive_relative_entropy(p: Array, q: Array) -> float:
    """One sample, number by number, from the definition."""
    shifted_p = [float(value) - min(p) + 1e-12 for value in p]
    shifted_q = [float(value) - min(q) + 1e-12 for value in q]
    total_p, total_q = sum(shifted_p), sum(shifted_q)
    return float(
        sum(
            a / total_p * math.log((a / total_p) / (b / total_q))
            for a, b in zip(shifted_p, shifted_q, strict=True)
        )
    )


def naive_differential_entropy(rows: Array) -> float:
    rows = np.array([row / sum(row) for row in rows])
    stds = [
        math.sqrt(sum((x - column.mean()) ** 2 for x in column) / (len(column) - 1))
        for column in rows.T
    ]
    return float(np.mean([0.5 * math.log(2 * math.pi * math.e) + math.log(std) for std in stds]))


def naive_gram_entropy(rows: Array) -> float:
    n = len(rows)
    rho = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            a, b = rows[i] - rows[i].mean(), rows[j] - rows[j].mean()
            rho[i, j] = a @ b / math.sqrt((a @ a) * (b @ b)) / n
    eigenvalues = [float(x) for x in np.linalg.eigvalsh(rho) if x > 1e-15]
    return -sum(x * math.log(x) for x in eigenvalues) / math.log(n)


def random_samples(seed: int, n: int = 6, d: int = 5) -> Tensor:
    return torch.rand(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class TestRelativeEntropy:
    @pytest.mark.parametrize(("q", "expected"), [("q", "kl_p_q"), ("q_signed", "kl_p_qsigned")])
    def test_agrees_with_authors(self, reference: Reference, q: str, expected: str) -> None:
        ours = relative_entropy(torch.tensor(reference["p"]), torch.tensor(reference[q]))
        np.testing.assert_allclose(ours.numpy(), reference[expected], rtol=1e-12)

    def test_agrees_with_authors_for_constant_reconstruction(self, reference: Reference) -> None:
        p = torch.tensor(reference["p"])
        ours = relative_entropy(p, torch.full_like(p, 0.3))
        np.testing.assert_allclose(ours.numpy(), reference["kl_p_constant"], rtol=1e-12)

    @given(st.integers(0, 1000), st.integers(0, 1000))
    def test_agrees_with_naive_twin(self, seed: int, other: int) -> None:
        p, q = random_samples(seed) - 0.3, random_samples(other)
        expected = [naive_relative_entropy(a, b) for a, b in zip(p.numpy(), q.numpy(), strict=True)]
        np.testing.assert_allclose(relative_entropy(p, q).numpy(), expected, atol=1e-9)

    @given(st.integers(0, 1000), st.permutations(range(6)), st.permutations(range(5)))
    def test_follows_permutations(self, seed: int, samples: list[int], features: list[int]) -> None:
        p, q = random_samples(seed), random_samples(seed + 1)
        permuted = relative_entropy(p[samples][:, features], q[samples][:, features])
        torch.testing.assert_close(permuted, relative_entropy(p, q)[samples])

    def test_is_zero_for_perfect_reconstruction_whatever_its_scale(self) -> None:
        p = random_samples(0)
        torch.testing.assert_close(relative_entropy(p, 3 * p + 1), torch.zeros(6).double())

    def test_many_reconstructions_are_as_if_one_by_one(self) -> None:
        p = random_samples(0)
        many = torch.stack([random_samples(seed) - 0.3 for seed in (1, 2, 3)])
        one_by_one = torch.stack([relative_entropy(p, q) for q in many])
        torch.testing.assert_close(relative_entropies(p, many), one_by_one)

    def test_nan_stays_in_its_sample(self) -> None:
        p = random_samples(0)
        q = p.clone()
        q[2, 1] = math.nan
        assert relative_entropy(p, q).isnan().tolist() == [False, False, True, False, False, False]

    def test_refuses_different_shapes(self) -> None:
        with pytest.raises(ValueError, match=r"same shape, but got \(2, 3\) and \(2, 4\)"):
            relative_entropy(torch.rand(2, 3), torch.rand(2, 4))

    def test_refuses_samples_without_features(self) -> None:
        with pytest.raises(ValueError, match=r"`inputs` must have shape .* but got shape \(3,\)"):
            relative_entropy(torch.rand(3), torch.rand(3))


class TestDifferentialEntropy:
    def test_agrees_with_authors(self, reference: Reference) -> None:
        ours = differential_entropy(torch.tensor(reference["acts"]))
        assert float(ours) == pytest.approx(float(reference["diff_entropy_acts"]), rel=1e-12)

    @given(st.integers(0, 1000))
    def test_agrees_with_naive_twin(self, seed: int) -> None:
        rows = random_samples(seed) + 0.1
        ours = float(differential_entropy(rows))
        assert ours == pytest.approx(naive_differential_entropy(rows.numpy()), rel=1e-9)

    def test_grows_by_ln_of_scale_without_normalization(self) -> None:
        rows = random_samples(0)
        grown = differential_entropy(7 * rows, normalize=False)
        expected = differential_entropy(rows, normalize=False) + math.log(7)
        torch.testing.assert_close(grown, expected)

    def test_stays_finite_for_constant_features(self) -> None:
        assert math.isfinite(differential_entropy(torch.ones(4, 3)))

    def test_refuses_one_sample(self) -> None:
        with pytest.raises(ValueError, match=r"n ≥ 2 .* but got shape \(1, 3\)"):
            differential_entropy(torch.rand(1, 3))


class TestGramEntropy:
    def test_agrees_with_authors(self, reference: Reference) -> None:
        ours = gram_entropy(torch.tensor(reference["acts"]))
        assert float(ours) == pytest.approx(float(reference["gram_entropy_acts"]), rel=1e-9)

    @given(st.integers(0, 1000))
    def test_agrees_with_naive_twin(self, seed: int) -> None:
        rows = random_samples(seed)
        ours = float(gram_entropy(rows))
        assert ours == pytest.approx(naive_gram_entropy(rows.numpy()), abs=1e-9)

    def test_is_zero_when_all_samples_point_one_way(self) -> None:
        rows = torch.tensor([[1.0, 2.0, 3.0]]) * torch.tensor([[1.0], [2.0], [5.0]])
        assert float(gram_entropy(rows)) == pytest.approx(0, abs=1e-6)

    def test_is_one_for_orthogonal_samples(self) -> None:
        rows = torch.tensor([[1.0, -1, 0, 0], [0, 0, 1, -1]])
        assert float(gram_entropy(rows)) == pytest.approx(1)

    def test_is_zero_without_any_direction(self) -> None:
        assert float(gram_entropy(torch.ones(4, 3))) == 0

    @pytest.mark.parametrize("scale", [1e-30, 1e38])
    def test_does_not_depend_on_the_scale(self, scale: float) -> None:
        rows = random_samples(0).float()
        assert float(gram_entropy(scale * rows)) == pytest.approx(
            float(gram_entropy(rows)), rel=1e-4
        )

    def test_is_nan_for_infinite_samples(self) -> None:
        rows = torch.rand(4, 3)
        rows[0, 0] = math.inf
        assert math.isnan(gram_entropy(rows))

    def test_refuses_one_sample(self) -> None:
        with pytest.raises(ValueError, match=r"n ≥ 2 .* but got shape \(1, 3\)"):
            gram_entropy(torch.rand(1, 3))
