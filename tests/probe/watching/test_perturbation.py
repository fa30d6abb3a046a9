from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence

import recent_prune as rp
from recent_prune.probe.watching.perturbation import (
    PERTURBED,
    SIZE,
    with_perturbed,
    with_perturbed_copies,
)
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


X, Z, IDS, Y = (
    torch.rand(9, 4),
    torch.randn(9, 2, 3) * 50,
    torch.arange(36).view(9, 4),
    torch.arange(9),
)


@pytest.mark.parametrize(
    ("wrap", "unwrap"),
    [
        (lambda *four: four, tuple),
        (lambda x, z, *two: [(x, {"z": z}), *two], lambda b: (b[0][0], b[0][1]["z"], *b[1:])),
        (lambda x, *rest: {"x": x, "more": [*rest]}, lambda b: (b["x"], *b["more"])),
    ],
    ids=["tuple", "list", "mapping"],
)
def test_of_whole_batches_only_the_inputs_are_moved(wrap: Any, unwrap: Any) -> None:
    batch = wrap(X, Z, IDS, Y)
    whole, count, size = with_perturbed_copies(batch, 9, [X, Z], 3)
    assert (type(whole), count) == (type(batch), 3)
    x, z, ids, y = unwrap(whole)
    for found, was in ((x, X), (z, Z), (ids, IDS), (y, Y)):
        assert torch.equal(found[:9], was)
        assert (found.shape, found.dtype) == ((12, *was.shape[1:]), was.dtype)
    assert torch.equal(ids[9:], IDS[:3])
    assert torch.equal(y[9:], Y[:3])
    squares = [(found[9:] - was[:3]).square() for found, was in ((x, X), (z, Z))]
    for square, was in zip(squares, (X, Z), strict=True):  # each in proportion to its own size
        expected = SIZE * float(was[:3].square().mean().sqrt())
        assert math.sqrt(square.mean()) == pytest.approx(expected, rel=0.6)
    assert size == pytest.approx(float(torch.cat([s.flatten() for s in squares]).mean()), rel=1e-3)


def test_inputs_are_moved_in_directions_of_their_own() -> None:
    (a, b), _, _ = with_perturbed_copies((X, twin := X.clone()), 9, [X, twin], 9)
    assert float((a - b)[9:].abs().min()) > 0
    (again, _), _, _ = with_perturbed_copies((X, twin), 9, [X, twin], 9)
    assert torch.equal(again, a)


def test_what_is_there_twice_is_moved_twice_the_same_way() -> None:
    (a, b), count, size = with_perturbed_copies((X, X), 9, [X], 4)
    assert torch.equal(a, b)
    assert count == 4
    assert size > 0


def test_plain_values_stay() -> None:
    whole, count, _ = with_perturbed_copies({"x": X, "n": 3, "rate": 0.1, "z": None}, 9, [X], 50)
    assert count == 9
    assert (whole["n"], whole["rate"], whole["z"]) == (3, 0.1, None)


@pytest.mark.parametrize(
    ("batch", "inputs"),
    [
        ((X, torch.rand(8, 2)), [X]),  # not of as many samples
        ((X, torch.tensor(0.1)), [X]),
        ((X, "text"), [X]),
        ((pack_sequence([X, X[:3]]), Y), []),
        ((IDS, Y), []),
        ((X, Y), []),
        ((X, Y), [torch.rand(9, 4)]),  # not in the batch
    ],
)
def test_what_cannot_be_appended_to_stays_as_it_is(batch: Any, inputs: list[Tensor]) -> None:
    whole, count, size = with_perturbed_copies(batch, 9, inputs, 3)
    assert whole is batch
    assert count == 0
    assert math.isnan(size)


def test_no_copies_where_none_are_asked_for() -> None:
    (x, y), count, size = with_perturbed_copies((X, Y), 9, [X], 0)
    assert torch.equal(x, X)
    assert torch.equal(y, Y)
    assert count == 0
    assert math.isnan(size)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_complex_inputs_are_moved_in_both_parts(dtype: torch.dtype) -> None:
    batch = torch.randn(40, 6, dtype=dtype)
    whole, count, size = with_perturbed(batch, 16)
    assert (count, whole.dtype) == (16, dtype)
    moved = torch.view_as_real(whole[40:] - batch[:16])
    assert float(moved.abs().min()) > 0
    assert float(moved.square().mean()) == pytest.approx(size, rel=1e-3)
    (same, _), _, _ = with_perturbed_copies((batch, torch.arange(40)), 40, [batch], 16)
    assert torch.equal(same, whole)
