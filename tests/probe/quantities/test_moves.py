from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from recent_prune.probe.quantities import moves as module
from recent_prune.probe.quantities.moves import Move, as_real, moves


def numbers(tensor: Tensor) -> list[float]:
    """All of them, in Python's own arithmetic; of complex ones both parts."""
    dense = tensor.detach().to_dense() if tensor.layout != torch.strided else tensor.detach()
    if dense.is_complex():
        dense = torch.view_as_real(dense)
    return [float(x) for x in dense.double().flatten()]


def norm(values: list[float]) -> float:
    return math.sqrt(math.fsum(x * x for x in values))


def plain(parameter: nn.Parameter, before: Tensor) -> Move:
    """The same in plain float64."""
    now, was = numbers(parameter), numbers(before)
    update = [a - b for a, b in zip(now, was, strict=True)]
    slope = [0.0] * len(now) if parameter.grad is None else numbers(parameter.grad)
    product = math.fsum(g * u for g, u in zip(slope, update, strict=True))
    return Move(parameter.numel(), norm(was), norm(update), norm(slope), product)


def check(found: Move, expected: Move, rel: float = 1e-5) -> None:
    assert found.count == expected.count
    for name in ("weight", "update", "gradient"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=rel), name
    # Of terms that may cancel.
    scale = expected.update * expected.gradient
    assert found.product == pytest.approx(expected.product, rel=rel, abs=rel * scale)


def updated(
    shape: tuple[int, ...],
    dtype: torch.dtype = torch.float32,
    weight: float = 1.0,
    slope: float = 1.0,
    step: float = 0.01,
) -> tuple[nn.Parameter, Tensor]:
    """A parameter with a gradient after an update, and its values before."""
    parameter = nn.Parameter(weight * torch.randn(shape, dtype=dtype))
    parameter.grad = slope * torch.randn(shape, dtype=dtype)
    before = parameter.detach().clone()
    with torch.no_grad():
        parameter.sub_(step * (torch.randn(shape, dtype=dtype) + parameter.grad / slope))
    return parameter, before


@pytest.mark.parametrize("cached", [module.CACHED, 7, 1])
@pytest.mark.parametrize("shape", [(), (1,), (0,), (50,), (6, 7), (3, 4, 5)])
def test_against_a_plain_loop(
    shape: tuple[int, ...], cached: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many parts it is read in."""
    monkeypatch.setattr(module, "CACHED", cached)
    parameter, before = updated(shape)
    check(moves([parameter], {id(parameter): before})[id(parameter)], plain(parameter, before))


@pytest.mark.parametrize(
    ("dtype", "rel"),
    [
        (torch.float64, 1e-6),
        (torch.complex64, 1e-5),
        (torch.complex128, 1e-6),
        (torch.float16, 1e-5),
        (torch.bfloat16, 1e-5),
    ],
)
def test_of_any_type(dtype: torch.dtype, rel: float) -> None:
    """Half precision is added up in single; of complex numbers both parts count."""
    parameter, before = updated((40, 30), dtype, step=0.1)
    found = moves([parameter], {id(parameter): before})[id(parameter)]
    check(found, plain(parameter, before), rel)
    assert found.gradient > 30


@pytest.mark.parametrize("slope", [1e-30, 1e-38, 1e-44, 1e30, 3e38])
def test_gradients_whose_squares_leave_single_precision(slope: float) -> None:
    parameter, before = updated((20, 10))
    parameter.grad = slope * torch.rand(20, 10).clamp_min(0.3)
    expected = plain(parameter, before)
    found = moves([parameter], {id(parameter): before})[id(parameter)]
    check(found, expected)
    assert 0 < found.gradient < math.inf


def test_updates_and_weights_whose_squares_leave_single_precision() -> None:
    for weight in (1e-25, 1e25):
        parameter, before = updated((20, 10), weight=weight, step=weight / 100)
        found = moves([parameter], {id(parameter): before})[id(parameter)]
        check(found, plain(parameter, before), 1e-4)


def test_small_steps_of_large_weights_are_the_difference_of_what_is_stored() -> None:
    parameter = nn.Parameter(torch.full((100,), 1e4))
    before = parameter.detach().clone()
    with torch.no_grad():
        parameter[0] += 2**-10
    found = moves([parameter], {id(parameter): before})[id(parameter)]
    assert found.update == pytest.approx(2**-10)


def test_half_precision_beyond_its_range() -> None:
    parameter, before = updated((64,), torch.float16)
    parameter.grad = torch.full((64,), 6e4, dtype=torch.float16)
    found = moves([parameter], {id(parameter): before})[id(parameter)]
    assert found.gradient == pytest.approx(8 * float(parameter.grad[0]), rel=1e-5)


@pytest.mark.parametrize("fill", [math.inf, -math.inf, math.nan])
def test_what_is_not_finite_shows(fill: float) -> None:
    parameter, before = updated((6, 5))
    assert parameter.grad is not None
    parameter.grad[2, 3] = fill
    found = moves([parameter], {id(parameter): before})[id(parameter)]
    assert not math.isfinite(found.gradient)
    assert not math.isfinite(found.product)
    assert found.update == pytest.approx(plain(parameter, before).update, rel=1e-5)
    with torch.no_grad():
        parameter[1, 1] = fill
    assert not math.isfinite(moves([parameter], {id(parameter): before})[id(parameter)].update)


def test_without_a_gradient_nothing_is_promised() -> None:
    parameter, before = updated((6, 5))
    known = moves([parameter], {id(parameter): before}, gradients=False)[id(parameter)]
    parameter.grad = None
    found = moves([parameter], {id(parameter): before})[id(parameter)]
    assert (found.gradient, found.product) == (0, 0)
    assert found == known
    check(found, plain(parameter, before))


def test_what_did_not_move() -> None:
    parameter = nn.Parameter(torch.zeros(5, 3))
    parameter.grad = torch.zeros(5, 3)
    found = moves([parameter], {id(parameter): torch.zeros(5, 3)})[id(parameter)]
    assert found == Move(15, 0, 0, 0, 0)


@pytest.mark.parametrize("sparse", [True, False])
def test_sparse_gradients(sparse: bool) -> None:
    """Tokens that come twice lie twice in a gradient that is not added up yet."""
    embedding = nn.Embedding(20, 4, sparse=sparse)
    weight = nn.Parameter(embedding.weight.detach())
    embedding.weight = weight
    before = weight.detach().clone()
    (embedding(torch.tensor([1, 3, 3, 19])) * torch.randn(4, 4)).sum().backward()
    assert weight.grad is not None
    assert weight.grad.is_sparse == sparse
    with torch.no_grad():
        weight.sub_(0.1 * weight.grad.to_dense())
    found = moves([weight], {id(weight): before})[id(weight)]
    check(found, plain(weight, before))
    assert found.product == pytest.approx(-0.1 * found.gradient**2, rel=1e-4)


def test_many_at_once_and_shared_ones_once() -> None:
    pairs = [updated((3, k + 1), slope=10.0 ** (-6 * k)) for k in range(6)]
    parameters = [parameter for parameter, _ in pairs]
    before = {id(parameter): was for parameter, was in pairs}
    found = moves([*parameters, parameters[0], parameters[3]], before)
    assert list(found) == list(map(id, parameters))
    for parameter, was in pairs:
        check(found[id(parameter)], plain(parameter, was))
    assert moves([], {}) == {}


def transposed() -> nn.Parameter:
    return nn.Parameter(torch.randn(6, 5).T)


def channels_last() -> nn.Parameter:
    return nn.Parameter(torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last))


@pytest.mark.parametrize("build", [transposed, channels_last])
def test_however_it_lies_in_memory(build: Callable[[], nn.Parameter]) -> None:
    parameter = build()
    parameter.grad = torch.randn(parameter.shape)
    before = parameter.detach().clone(memory_format=torch.contiguous_format)
    with torch.no_grad():
        parameter.sub_(0.1 * parameter.grad)
    check(moves([parameter], {id(parameter): before})[id(parameter)], plain(parameter, before))


def test_nothing_changes() -> None:
    parameter, before = updated((6, 5))
    assert parameter.grad is not None
    values = [t.detach().clone() for t in (parameter, parameter.grad, before)]
    moves([parameter], {id(parameter): before})
    for found, was in zip((parameter, parameter.grad, before), values, strict=True):
        assert torch.equal(found, was)


def test_complex_numbers_are_pairs() -> None:
    real, values = torch.rand(3, 2), torch.randn(3, 2, dtype=torch.complex64)
    assert as_real(real) is real
    assert torch.equal(as_real(values), torch.stack([values.real, values.imag], dim=-1))
