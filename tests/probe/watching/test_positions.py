"""Of sequences the real positions count, whatever stands at the others."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import recent_prune as rp
from recent_prune.probe.quantities.gram import layer_gram
from recent_prune.probe.watching.batchwise import NO_MASK
from tests.networks import Bert, Rows
from tests.probe.watching.test_batchwise import PROFILES, observed


def padded(lengths: list[int], fill: float = 0.0) -> dict[str, Tensor]:
    """Sequences [n, t, 8] of the longest's length, and which positions are real."""
    draw = torch.Generator().manual_seed(sum(lengths))
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    x = torch.randn(*mask.shape, 8, generator=draw)
    return {"x": x.masked_fill(~mask[..., None], fill), "mask": mask}


@pytest.mark.parametrize("masked", [False, True])
def test_sequences_of_any_length_are_summed_over_their_real_positions(masked: bool) -> None:
    """Against a plain loop over the samples."""
    model = Rows()
    lengths = [[3 + k % 4 for k in range(20)], [1 + k % 9 for k in range(20)]]
    batches: list[Any] = [padded(some) for some in lengths]
    if not masked:
        batches = [{"x": batch["x"]} for batch in batches]
    seen, inputs, _ = observed(model, batches)
    assert seen.names == ["input of second", "input of head"]
    rows: list[list[Tensor]] = [[], []]
    with torch.no_grad():
        for batch, some in zip(batches, lengths, strict=True):
            for sequence, length in zip(batch["x"], some, strict=True):
                x = sequence[:length] if masked else sequence
                rows[0].append(x.sum(0) / math.sqrt(len(x)))
                hidden = torch.tanh(model.first(x))
                rows[1].append(hidden.sum(0) / math.sqrt(len(x)))
    torch.testing.assert_close(inputs.rows["x"], torch.stack(rows[0]))
    wanted = layer_gram(torch.stack(rows[1]), 0, 2048)
    for found, number in zip(seen.grams[0], wanted, strict=True):
        torch.testing.assert_close(found, number, equal_nan=True, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("fill", [3.0, 1e30, math.inf, math.nan])
def test_what_stands_at_padded_positions_does_not_count(fill: float) -> None:
    model, lengths = Rows(), [[3 + k % 4 for k in range(40)], [2 + k % 7 for k in range(40)]]
    clean, dirty = ([padded(some, value) for some in lengths] for value in (0.0, fill))
    first, second = (rp.probe(model, batches) for batches in (clean, dirty))
    assert second.inputs == first.inputs == ("x",)
    for name in PROFILES[:-1]:
        assert getattr(second, name) == getattr(first, name), name
    assert second.jacobian_norm == pytest.approx(first.jacobian_norm, rel=0.1)


@pytest.mark.parametrize("length", [1, 3, 10])
def test_the_response_to_real_positions_is_that_of_the_layer(length: int) -> None:
    """Of a linear one ‖W‖² / d, exactly over all directions, however much is padding."""
    model = Rows()
    batch = {"x": torch.randn(100, 10, 8), "mask": torch.arange(10).expand(100, 10) < length}
    (found,) = rp.probe(model, [batch], layers=["first"]).jacobian_norm
    assert found == pytest.approx(float(model.first.weight.detach().square().sum()) / 16, rel=0.4)


def sentences(lengths: list[int], filler: int = 0) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(sum(lengths))
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    ids = torch.randint(1, 50, mask.shape, generator=draw).masked_fill(~mask, filler)
    return {"input_ids": ids, "attention_mask": mask.long()}


def test_tokens_at_padded_positions_do_not_count() -> None:
    lengths = [[3 + k % 4 for k in range(40)], [2 + k % 7 for k in range(40)]]
    model = Bert()
    one, other = (rp.probe(model, [sentences(s, f) for s in lengths]) for f in (0, 17))
    assert one.inputs == ("words",)
    assert one.retained == pytest.approx(other.retained, abs=1e-4)
    # Without the mask they do, and the result says so.
    unmasked = [{"input_ids": sentences(s, 17)["input_ids"]} for s in lengths]
    bare = rp.probe(model, unmasked)
    assert (one.notes, bare.notes) == ((), (NO_MASK,))
    assert bare.retained != pytest.approx(other.retained, abs=1e-2)


@pytest.mark.parametrize("sizes", [[1] * 40, [20, 20, 1], [1, 39]])
def test_tokens_in_batches_of_one(sizes: list[int]) -> None:
    """What is the same for all samples of a batch may differ from batch to batch."""
    parts = sentences([6 - k % 2 for k in range(sum(sizes))])
    split = zip(*(tensor.split(sizes) for tensor in parts.values()), strict=True)
    model = Bert()
    several = rp.probe(model, [dict(zip(parts, part, strict=True)) for part in split])
    assert several.inputs == ("words",)
    assert several.retained == pytest.approx(rp.probe(model, [parts]).retained, abs=1e-3)
