from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from recent_prune.probe.batches.view import View, differ

X = torch.rand(5, 3)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((), None),
        ((5,), None),
        ((5, 3), (5, 3)),
        ((5, 7, 3), (5, 7, 3)),
        ((7, 5, 3), (5, 7, 3)),
        ((7, 5), None),
        ((7, 3), None),
        ((4, 6, 5), None),
    ],
)
def test_activations_by_sample(shape: tuple[int, ...], expected: tuple[int, ...] | None) -> None:
    tensor = torch.rand(shape)
    found = View(5).of(tensor, tensor)
    assert (None if found is None else tuple(found.shape)) == expected
    if found is not None:
        assert torch.equal(found, tensor if len(tensor) == 5 else tensor.transpose(0, 1))
    assert View(5).of(tensor, tensor.long()) is None


def test_complex_activations_are_two_real_ones() -> None:
    tensor = torch.rand(5, 3, dtype=torch.complex64)
    found = View(5).of(tensor, tensor)
    assert found is not None
    assert torch.equal(found, torch.stack([tensor.real, tensor.imag], dim=-1).flatten(1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("shape", [(5, 7, 3), (5, 7, 2, 3)])
def test_positions_are_summed_over(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    activation = torch.rand(shape).to(dtype)
    places = activation.flatten(1, -2)
    mask = torch.rand(5, places.shape[1]) < 0.5
    mask[:, 0] = True
    masked = [
        row[real].float().sum(0) / real.sum().sqrt() for row, real in zip(places, mask, strict=True)
    ]
    whole = places.float().sum(1) / math.sqrt(places.shape[1])
    torch.testing.assert_close(View(5).over_positions(activation), whole)
    torch.testing.assert_close(View(5, (mask,)).over_positions(activation), torch.stack(masked))
    other = mask[:, 1:]  # of other positions than these
    torch.testing.assert_close(View(5, (other,)).over_positions(activation), whole)


@pytest.mark.parametrize("value", [math.nan, math.inf, -1e30])
def test_what_stands_at_padded_positions_does_not_count(value: float) -> None:
    activation, mask = torch.rand(5, 7, 3), torch.arange(7) < torch.arange(1, 6)[:, None]
    clean = View(5, (mask,)).over_positions(activation)
    activation[~mask] = value
    assert torch.equal(View(5, (mask,)).over_positions(activation), clean)


def test_what_has_no_positions_is_as_it_is() -> None:
    assert View(5, (torch.ones(5, 3, dtype=torch.bool),)).over_positions(X) is X


@pytest.mark.parametrize(("shape", "times"), [((15, 4), 3), ((10, 2, 4), 2), ((20, 3, 6, 6), 4)])
def test_merged_axes_are_taken_apart_both_ways(shape: tuple[int, ...], times: int) -> None:
    rows = torch.rand(5, times, *shape[1:])
    found = View(5).merged(rows.flatten(0, 1))
    assert found is not None
    assert torch.equal(found[0], rows)  # such as all time steps of a sample in a row
    found = View(5).merged(rows.transpose(0, 1).flatten(0, 1))
    assert found is not None
    assert torch.equal(found[1], rows)  # such as one view of all samples behind the other


@pytest.mark.parametrize("shape", [(5, 3), (7, 3), (4, 3), (15,), ()])
def test_nothing_else_is_taken_apart(shape: tuple[int, ...]) -> None:
    assert View(5).merged(torch.rand(shape)) is None
    assert View(5).merged(torch.ones(15, 3, dtype=torch.int64)) is None


IDS = torch.tensor([[3, 7, 2, 0], [3, 1, 0, 0], [3, 0, 0, 0]])
REAL = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]]) > 0


def differing(view: View, *several: Tensor) -> bool:
    found = [view.extremes(ids) for ids in several]
    assert all(one is not None for one in found)
    return differ(found)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int16, torch.uint8])
def test_whether_ids_differ_at_real_positions(dtype: torch.dtype) -> None:
    ids, view = IDS.to(dtype), View(3, (REAL,))
    assert differing(view, ids)
    assert not differing(view, ids.masked_fill(torch.arange(4) > 0, 5))
    assert not differing(view, torch.arange(4).expand(3, 4).to(dtype))  # positions
    alike = torch.where(REAL, torch.arange(1, 5), 9).to(dtype)  # but for what is padding
    assert not differing(view, alike)
    assert differing(View(3), alike)
    assert differing(View(3), torch.tensor([1, 1, 2]).to(dtype))
    assert not differing(View(3), torch.tensor([2, 2, 2]).to(dtype))


def test_whether_ids_differ_from_batch_to_batch() -> None:
    one, two = torch.full((3, 4), 5), torch.full((3, 4), 6)
    assert differing(View(3), one, two)
    assert not differing(View(3), one, one)
    # Of unlike lengths: positions are the same as far as they go.
    assert not differing(View(3), torch.arange(4).expand(3, 4), torch.arange(6).expand(3, 6))
    assert differing(View(3), torch.arange(4).expand(3, 4), 1 + torch.arange(6).expand(3, 6))
    assert View(3).extremes(torch.arange(4)) is None  # no axis of samples
