from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from recent_prune.probe.batches.calling import arguments, moved, target_of

X, M, Y = torch.rand(4, 3), torch.ones(4, 3), torch.arange(4)


class Language(nn.Module):
    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor | None = None
    ) -> None:
        """Arguments as those of transformers."""


class Wrapper(nn.Module):
    def forward(self, **_: Any) -> None:
        """Passes on what it gets."""


class Positional(nn.Module):
    def forward(self, x: Tensor, /) -> None:
        """Has no names."""


def called(model: nn.Module, batch: Any, own_loss: bool = False) -> tuple[Any, Any, Any]:
    found = arguments(model, batch, own_loss=own_loss)
    return found.args, found.kwargs, found.target


@pytest.mark.parametrize(
    ("model", "batch", "own", "expected"),
    [
        (nn.Flatten(), X, False, ((X,), {}, None)),
        (nn.Flatten(), (X,), False, ((X,), {}, None)),
        (nn.Flatten(), [X, Y], False, ((X,), {}, Y)),
        (nn.Flatten(), (X, M, Y), False, ((X, M), {}, Y)),
        (nn.Flatten(), (X, M, Y), True, ((X, M, Y), {}, Y)),
        (nn.Flatten(), (X, None), False, ((X,), {}, None)),
        (nn.Flatten(), {"x": X, "y": Y}, False, ((X,), {}, Y)),
        (nn.Flatten(), {"image": X, "label": Y}, False, ((X,), {}, Y)),
        (
            Language(),
            {"labels": Y, "input_ids": X, "attention_mask": M},
            False,
            ((), {"input_ids": X, "attention_mask": M}, Y),
        ),
        (
            Language(),
            {"labels": Y, "input_ids": X, "attention_mask": M},
            True,
            ((), {"labels": Y, "input_ids": X, "attention_mask": M}, Y),
        ),
        (Wrapper(), {"a": X, "target": Y}, False, ((), {"a": X}, Y)),
        (Positional(), {"x": X, "targets": Y}, False, ((X,), {}, Y)),
    ],
)
def test_models_are_called_by_the_conventions(
    model: nn.Module, batch: Any, own: bool, expected: Any
) -> None:
    # Tensors are compared by identity: nothing is copied.
    args, kwargs, target = called(model, batch, own)
    assert list(map(id, args)) == list(map(id, expected[0]))
    assert {k: id(v) for k, v in kwargs.items()} == {k: id(v) for k, v in expected[1].items()}
    assert target is expected[2]


@pytest.mark.parametrize("batch", [3, None, "text", (), []])
def test_other_batches_are_refused_with_a_way_out(batch: Any) -> None:
    with pytest.raises(TypeError, match=r"must be a tensor, a tuple, .* Training\(…, call=lambda"):
        arguments(nn.Flatten(), batch)


def test_mappings_without_a_tensor_are_refused() -> None:
    with pytest.raises(TypeError, match=r"must hold a tensor, but got a mapping of \['a', 'y'\]"):
        arguments(Positional(), {"a": 1, "y": Y})


@pytest.mark.parametrize(
    ("batch", "target"),
    [(X, None), ((X,), None), ((X, Y), Y), ({"x": X}, None), ({"x": X, "y": Y}, Y), (3, None)],
)
def test_the_target_is_the_last_or_called_so(batch: Any, target: Any) -> None:
    assert target_of(batch) is target


class Named(NamedTuple):
    x: Tensor
    y: list[Tensor]


@dataclass(frozen=True)
class Sample:
    x: Tensor
    note: str


def test_batches_of_all_kinds_are_moved() -> None:
    # The meta device stands in for a GPU.
    batch = {
        "list": [X, (Y, "text")],
        "named": Named(X, [Y]),
        "class": Sample(X, "note"),
        "number": 3,
        "none": None,
    }
    there = moved(batch, torch.device("meta"))
    tensors = [
        there["list"][0],
        there["list"][1][0],
        there["named"].x,
        there["named"].y[0],
        there["class"].x,
    ]
    assert [t.device.type for t in tensors] == ["meta"] * 5
    assert there["list"][1][1] == "text"
    assert isinstance(there["named"], Named)
    assert there["class"].note == "note"
    assert (there["number"], there["none"]) == (3, None)
    assert batch["list"][0] is X  # type: ignore[index]


def test_packed_sequences_keep_their_sizes_on_the_cpu() -> None:
    packed = pack_sequence([torch.rand(3, 2), torch.rand(2, 2)])
    there, target = moved((packed, Y), torch.device("meta"))
    assert isinstance(there, PackedSequence)
    assert there.data.device.type == target.device.type == "meta"
    assert there.batch_sizes.tolist() == [2, 2, 1]
