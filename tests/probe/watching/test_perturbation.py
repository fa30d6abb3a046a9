from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

import recent_prune as rp
from recent_prune.probe.watching.perturbation import PERTURBED, SIZE, with_perturbed
from tests.networks import Tokens, mlp


def test_first_samples_come_again_slightly_moved(digits: Tensor) -> None:
    batch, count, size = with_perturbed(digits[:50], PERTURBED)
    assert count == PERTURBED
    assert torch.equal(batch[:50], digits[:50])
    moved = batch[50:] - digits[:PERTURBED]
    assert float(moved.square().mean()) == pytest.approx(size, rel=1e-4)
    expected = SIZE * float(digits[:PERTURBED].square().mean().sqrt())
    assert math.sqrt(size) == pytest.approx(expected, rel=0.1)
    assert torch.equal(with_perturbed(digits[:50], PERTURBED)[0], batch)


def test_few_samples_are_all_perturbed_and_tokens_are_not(digits: Tensor) -> None:
    assert with_perturbed(digits[:5], PERTURBED)[1] == 5
    tokens = torch.randint(0, 9, (50, 4))
    batch, count, size = with_perturbed(tokens, PERTURBED)
    assert (batch is tokens, count, math.isnan(size)) == (True, 0, True)


def test_jacobian_norm_is_that_of_autograd(digits: Tensor) -> None:
    """Against the exact one, E ‖∂h / ∂x‖² / d, over the same samples."""
    model = mlp(depth=3, width=32)
    found = rp.probe(model, digits[:160]).jacobian_norm
    assert isinstance(model, nn.Sequential)
    for layer, norm in zip((3, 5, 7), found, strict=True):
        part = model[:layer]

        def flat(x: Tensor, part: nn.Module = part) -> Tensor:
            return part(x[None])[0]  # type: ignore[no-any-return]

        jacobians = torch.vmap(torch.func.jacrev(flat))(digits[:PERTURBED].flatten(1))
        exact = float(jacobians.detach().square().sum(dim=(1, 2)).mean()) / 32
        assert norm == pytest.approx(exact, rel=0.4)  # sixteen random directions


def test_perturbations_fade_in_the_ordered_phase_and_grow_in_the_chaotic_one(
    digits: Tensor,
) -> None:
    def stretch(weight_variance: float) -> float:
        model = mlp(depth=20, width=64, weight_variance=weight_variance)
        norms = rp.probe(model, digits).jacobian_norm
        return norms[-1] / norms[0]

    assert stretch(0.5) < 1e-6
    assert 0.01 < stretch(1.76) < 10
    assert stretch(4.0) > 10


def test_a_linear_network_multiplies() -> None:
    """χ₁ = σ_w² in every layer."""
    layers = [nn.Linear(200, 200) for _ in range(6)]
    for layer in layers:
        nn.init.normal_(layer.weight, std=(0.5 / 200) ** 0.5)
    inputs = torch.rand(100, 16) @ torch.rand(16, 200)
    norms = rp.probe(nn.Sequential(*layers), inputs).jacobian_norm
    assert norms == pytest.approx([0.5**k for k in range(1, 6)], rel=0.3)


def test_tokens_and_the_cascade_have_none(digits: Tensor) -> None:
    assert math.isnan(rp.probe(Tokens(), torch.randint(0, 50, (100, 6))).jacobian_norm[0])
    cascade = rp.probe(mlp(), digits, estimator=rp.Cascade(updates=3))
    assert all(math.isnan(norm) for norm in cascade.jacobian_norm)
