from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from recent_prune.probe.batches.calling import Arguments
from recent_prune.probe.batches.samples import (
    SIDE,
    Given,
    check_count,
    count_of,
    given_to,
    is_list_of_samples,
    rows_of,
)
from recent_prune.probe.batches.view import View


@dataclass
class Record:
    a: Tensor
    b: Any = None


class Graphs:
    """As a batch of PyTorch Geometric, of graphs with two, one, and three nodes."""

    def __init__(self) -> None:
        self.x, self.y = torch.rand(6, 4), torch.arange(3)
        self.edge_index = torch.tensor([[0, 3, 4], [1, 4, 5]])
        self.batch = torch.tensor([0, 0, 1, 2, 2, 2])
        self.num_graphs = 3


class OneGraph:
    def __init__(self) -> None:
        self.x, self.edge_index = torch.rand(6, 4), torch.tensor([[0, 3], [1, 4]])


def ragged(*lengths: int, width: int = 4) -> list[Tensor]:
    return [torch.rand(length, width) for length in lengths]


def packed(*lengths: int) -> PackedSequence:
    return pack_sequence(ragged(*lengths), enforce_sorted=False)


X, Y = torch.rand(5, 3), torch.arange(5)
IMAGES = [torch.rand(3, 8 + k, 9) for k in range(5)]


@pytest.mark.parametrize(
    ("batch", "count"),
    [
        (X, 5),
        (torch.tensor(1.0), 0),
        ((X, Y), 5),
        ([X, Y], 5),
        ({"x": X, "y": Y}, 5),
        (((X, X), Y), 5),
        (({"x": [X]}, Y), 5),
        ({"rate": torch.tensor(0.1), "x": X}, 5),
        (("text", X), 5),
        (packed(3, 1, 2, 2), 4),
        ((packed(3, 1, 2, 2), torch.arange(4)), 4),
        (IMAGES, 5),
        ((IMAGES, [{"boxes": torch.rand(2, 4)}] * 5), 5),
        (ragged(3, 1, 2), 3),
        (Record(X), 5),
        (Record(X, Y), 5),
        ((Record(X), Y), 5),
        (Graphs(), 3),
        (OneGraph(), 6),  # which nobody can tell from samples
        ({}, 0),
        ("text", 0),
        (None, 0),
    ],
)
def test_samples_are_counted(batch: Any, count: int) -> None:
    assert count_of(batch) == count


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (IMAGES, True),
        (tuple(IMAGES), True),
        (ragged(3, 1), True),
        ([X, X], False),  # two arguments
        ([X, Y], False),
        ([], False),
        ([torch.tensor(1.0)] * 3, False),
        ([X, "text"], False),
        (X, False),
    ],
)
def test_lists_of_samples_are_told_from_lists_of_arguments(value: Any, expected: bool) -> None:
    assert is_list_of_samples(value) == expected


def test_too_few_samples_are_refused() -> None:
    check_count([torch.rand(10, 2), torch.rand(6, 2)])
    message = r"`inputs` must hold at least 16 samples, but got 15: a probe fits on some and"
    with pytest.raises(ValueError, match=message):
        check_count([torch.rand(10, 2), torch.rand(5, 2)])
    with pytest.raises(ValueError, match=r"but got 6 \(the nodes of one graph are not indep"):
        check_count([OneGraph()])


def given_by(batch: Any, *args: Any, target: Any = None, **named: Any) -> Given:
    class Model(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> None:
            """Names its arguments."""

    return given_to(Model(), batch, Arguments(args, named, target))


def test_inputs_are_named_as_arguments_are() -> None:
    ids, extra = torch.randint(0, 9, (5, 7)), torch.rand(5, 2)
    found = given_by((X, ids, Y), X, {"ids": ids}, target=Y, extra=extra, labels=extra, flag=True)
    assert list(found.floating) == ["a", "extra"]
    assert found.floating["a"] is X
    assert found.integers
    assert found.shapes == {"a": (3,), "b.ids": (7,), "extra": (2,)}
    assert (found.view.count, found.view.masks) == (5, ())


def test_targets_and_truth_values_are_no_inputs() -> None:
    target = torch.rand(5, 2)
    found = given_by(
        (X, target), X, target, target=target, chosen=torch.ones(5, 3, dtype=torch.bool)
    )
    assert list(found.floating) == ["a"]
    assert not found.integers


def test_where_the_user_calls_the_model_all_but_the_target_is_an_input() -> None:
    for batch in ((X, X, Y), {"0": X, "1": X, "label": Y}):
        assert list(given_to(nn.Flatten(), batch, None).floating) == ["0", "1"]
    assert list(given_to(nn.Flatten(), X, None).floating) == ["input"]
    assert list(given_to(nn.Flatten(), (IMAGES, Y), None).floating) == ["0"]


def test_the_last_of_a_pair_that_is_compared_is_no_target() -> None:
    found = given_to(nn.Flatten(), (X, X + 1), None, has_target=False)
    assert list(found.floating) == ["0", "1"]
    assert list(given_to(nn.Flatten(), (X, X + 1), None).floating) == ["0"]
    assert list(given_to(nn.Flatten(), (X, Y), None, has_target=False).floating) == ["0"]


REAL = torch.tensor([[1, 1, 1], [1, 0, 0], [0, 1, 1]])


@pytest.mark.parametrize(
    ("name", "mask"),
    [
        ("attention_mask", REAL),
        ("attention_mask", REAL.float()),
        ("attention_mask", REAL.bool()),
        ("mask", REAL.bool()),
        ("src_key_padding_mask", ~REAL.bool()),  # PyTorch's is true where there is padding
        ("padding_mask", ~REAL.bool()),
        ("src_key_padding_mask", torch.zeros(3, 3).masked_fill(REAL == 0, -math.inf)),  # added
        ("attention_mask", (1 - REAL) * torch.finfo(torch.float32).min),
    ],
)
def test_masks_tell_which_positions_are_real(name: str, mask: Tensor) -> None:
    ids = torch.randint(0, 9, (3, 3))
    (found,) = given_by({"a": ids, name: mask}, a=ids, **{name: mask}).view.masks
    assert torch.equal(found, REAL.bool())


RIGHT = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]])


@pytest.mark.parametrize(
    ("mask", "real"),
    [
        (RIGHT == 0, RIGHT),  # true where there is padding
        (1 - RIGHT, RIGHT),
        (RIGHT, RIGHT),  # of the two, what leaves no position empty in all samples
        (torch.ones(3, 4), torch.ones(3, 4)),
        (torch.zeros(3, 4), torch.ones(3, 4)),
    ],
)
def test_masks_that_are_called_pad_are_of_either_kind(mask: Tensor, real: Tensor) -> None:
    ids = torch.randint(0, 9, (3, 4))
    (found,) = given_by({"a": ids, "pad_mask": mask}, a=ids, pad_mask=mask).view.masks
    assert torch.equal(found, real.bool())


def test_integers_may_say_where_there_is_padding() -> None:
    ids, mask = torch.randint(0, 9, (3, 4)), 1 - RIGHT
    (found,) = given_by({"a": ids, "padding_mask": mask}, a=ids, padding_mask=mask).view.masks
    assert torch.equal(found, RIGHT.bool())


def test_an_encoder_and_a_decoder_have_a_mask_each() -> None:
    source, target = RIGHT, torch.tensor([[1, 1], [1, 0], [1, 1]])
    named = {"attention_mask": source, "decoder_attention_mask": target}
    view = given_by({"a": source, **named}, a=source, **named).view
    for real in (source, target):
        found = view.mask(real.shape[1])
        assert found is not None
        assert torch.equal(found, real.bool())
    assert view.mask(3) is None


@pytest.mark.parametrize(("name", "value"), [("attention_mask", 0), ("key_padding_mask", True)])
def test_a_sample_of_which_nothing_is_left_is_refused(name: str, value: Any) -> None:
    mask = torch.full((5, 7), value)
    mask[2:] = ~mask[2:] if mask.dtype == torch.bool else 1
    message = f"`{name}` must leave at least one position of each sample, .* 7 of 2 of 5 samples"
    with pytest.raises(ValueError, match=message):
        given_by({"a": X, name: mask}, a=X, **{name: mask})


def test_other_masks_are_no_padding() -> None:
    square = torch.ones(7, 7)  # which positions see each other
    assert given_by({"a": X, "attn_mask": square}, a=X, attn_mask=square).view.masks == ()


@pytest.mark.parametrize("causal", [torch.ones(5, 5).tril(), torch.ones(5, 5).triu(1).bool()])
def test_nor_are_those_of_the_positions_before_also_of_as_many_samples(causal: Tensor) -> None:
    added = torch.zeros(5, 5).masked_fill(torch.ones(5, 5).triu(1).bool(), -math.inf)
    for mask in (causal, added):
        assert given_by({"a": X, "src_mask": mask}, a=X, src_mask=mask).view.masks == ()


@pytest.mark.parametrize("other", [None, (torch.rand(1, 4, 8), torch.rand(1, 4, 8))])
def test_packed_sequences_are_summed_sample_by_sample(other: Any) -> None:
    sequences = ragged(3, 1, 4, 2)
    value = pack_sequence(sequences, enforce_sorted=False)
    found = View(4).of((value, other), value.data)
    assert found is not None
    expected = [sequence.sum(0) / math.sqrt(len(sequence)) for sequence in sequences]
    torch.testing.assert_close(found, torch.stack(expected))


def test_nodes_are_summed_graph_by_graph() -> None:
    graphs = Graphs()
    found = given_to(nn.Flatten(), graphs, Arguments((graphs,), {})).view.of(graphs.x, graphs.x)
    assert found is not None
    expected = [graphs.x[graphs.batch == k].sum(0) for k in range(3)]
    for row, total, nodes in zip(found, expected, (2, 1, 3), strict=True):
        torch.testing.assert_close(row, total / math.sqrt(nodes))


def test_of_graphs_only_what_their_nodes_know_is_an_input() -> None:
    graphs = Graphs()
    found = given_to(nn.Flatten(), graphs, Arguments((graphs,), {}, graphs.y))
    assert list(found.floating) == ["input.x"]
    assert not found.integers


def test_inputs_by_sample() -> None:
    view = View(5)
    sequences, images = torch.rand(5, 7, 3), torch.rand(5, 3, 20, 30)
    for value in (X, sequences, images):
        assert rows_of(value, view, pooled=False) is value
    summed = rows_of(sequences, view, pooled=True)
    torch.testing.assert_close(summed, sequences.sum(1) / math.sqrt(7))
    assert rows_of(X, view, pooled=True) is X
    small = rows_of(images, view, pooled=True)
    assert small is not None
    torch.testing.assert_close(small, adaptive_avg_pool2d(images, SIDE))
    one = rows_of(torch.rand(5), view, pooled=False)
    assert one is not None
    assert one.shape == (5, 1)
    assert rows_of(torch.rand(4, 3), view, pooled=False) is None
    assert rows_of(torch.tensor(0.1), view, pooled=False) is None


def test_lists_of_samples_are_put_together() -> None:
    found = rows_of(IMAGES, View(5), pooled=True)
    assert found is not None
    expected = [adaptive_avg_pool2d(image, SIDE) for image in IMAGES]
    torch.testing.assert_close(found, torch.stack(expected))
    sequences = ragged(3, 1, 2)
    found = rows_of(sequences, View(3), pooled=True)
    assert found is not None
    expected = [sequence.sum(0) / math.sqrt(len(sequence)) for sequence in sequences]
    torch.testing.assert_close(found, torch.stack(expected))
