from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from recent_prune.probe.batches.calling import Calling, arguments, names_of, target_of, way_out
from recent_prune.probe.batches.moving import described, moved

X, M, Y = torch.rand(4, 3), torch.ones(4, 3), torch.arange(4)
PACKED = pack_sequence([torch.rand(3, 2), torch.rand(2, 2)])


class Language(nn.Module):
    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor | None = None
    ) -> None:
        """Arguments as those of transformers."""


class Wrapper(nn.Module):
    def forward(self, **_: Any) -> None: ...


class Endless(nn.Module):
    def forward(self, *_: Any) -> None: ...


class Positional(nn.Module):
    def forward(self, x: Tensor, /) -> None: ...


class Pair(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> None:
        """Needs both."""


class Optional(nn.Module):
    def forward(self, a: Tensor, b: Tensor | None = None) -> None:
        """Takes another one."""


class Only(nn.Module):
    def forward(self, a: Tensor, *, b: Tensor) -> None:
        """Needs one of them by name."""


class Whole(nn.Module):
    def forward(self, batch: Any) -> None:
        """Takes a batch as it is, by its name."""


class Annotated(nn.Module):
    def forward(self, given: dict[str, Tensor]) -> None:
        """Takes a batch as it is, by its type."""


@dataclass
class Record:
    a: Tensor
    b: Tensor
    y: Tensor | None = None


class Graph:
    """As those of PyTorch Geometric."""

    def __init__(self) -> None:
        self.x, self.y = X, Y


RECORD, GRAPH, WHOLE = Record(X, M, Y), Graph(), {"u": X, "v": M, "y": Y}
PAIR = (X, Y)
LANGUAGE = {"labels": Y, "input_ids": X, "attention_mask": M}


def called(model: nn.Module, batch: Any, own_loss: bool = False) -> tuple[Any, Any, Any]:
    found = arguments(model, batch, own_loss=own_loss)
    return found.args, found.kwargs, found.target


@pytest.mark.parametrize(
    ("model", "batch", "own", "expected"),
    [
        # Mappings.
        (nn.Flatten(), {"x": X, "y": Y}, False, ((X,), {}, Y)),
        (nn.Flatten(), {"image": X, "label": Y}, False, ((X,), {}, Y)),
        (nn.Flatten(), {"input": X, "more": M}, False, ((), {"input": X}, None)),
        (Language(), LANGUAGE, False, ((), {"input_ids": X, "attention_mask": M}, Y)),
        (Language(), LANGUAGE, True, ((), LANGUAGE, Y)),
        (Only(), {"a": X, "b": M, "c": X}, False, ((), {"a": X, "b": M}, None)),
        (Wrapper(), {"a": X, "target": Y}, False, ((), {"a": X}, Y)),
        (Wrapper(), {"a": X, "target": Y}, True, ((), {"a": X, "target": Y}, Y)),
        (Positional(), {"x": X, "targets": Y}, False, ((X,), {}, Y)),
        (Whole(), WHOLE, False, ((WHOLE,), {}, Y)),
        (Whole(), WHOLE, True, ((WHOLE,), {}, Y)),
        (Annotated(), WHOLE, False, ((WHOLE,), {}, Y)),
        # Dataclasses.
        (Pair(), RECORD, False, ((), {"a": X, "b": M}, Y)),
        (Whole(), RECORD, False, ((RECORD,), {}, Y)),
        # Tuples and lists.
        (nn.Flatten(), (X,), False, ((X,), {}, None)),
        (nn.Flatten(), [X, Y], False, ((X,), {}, Y)),
        (nn.Flatten(), (X, None), False, ((X,), {}, None)),
        (Positional(), (X, Y, M), False, ((X,), {}, Y)),
        (Pair(), (X, M, Y), False, ((X, M), {}, Y)),
        (Pair(), (X, M), False, ((X, M), {}, None)),
        (Pair(), ((X, M), Y), False, ((X, M), {}, Y)),
        (Pair(), ([X, M], Y), False, ((X, M), {}, Y)),
        (Pair(), ({"a": X, "b": M}, Y), False, ((), {"a": X, "b": M}, Y)),
        (Optional(), (X, M, Y), False, ((X, M), {}, Y)),
        (Optional(), (X, Y), False, ((X,), {}, Y)),
        (Endless(), (X, M, Y), False, ((X, M), {}, Y)),
        (Endless(), (X, M, Y), True, ((X, M, Y), {}, Y)),
        (Pair(), (X, Y), True, ((X, Y), {}, Y)),
        (Whole(), PAIR, True, ((PAIR,), {}, Y)),
        # One argument.
        (nn.Flatten(), X, False, ((X,), {}, None)),
        (nn.Flatten(), PACKED, False, ((PACKED,), {}, None)),
        (nn.Flatten(), (PACKED, Y), False, ((PACKED,), {}, Y)),
        (nn.Flatten(), GRAPH, False, ((GRAPH,), {}, Y)),
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


@pytest.mark.parametrize("batch", [3, None, "text", (), [], object(), torch.tanh, nn.Linear(1, 1)])
def test_other_batches_are_refused_with_a_way_out(batch: Any) -> None:
    with pytest.raises(TypeError, match=r"must be a tensor, a tuple, .*call=lambda") as caught:
        arguments(Only(), batch)
    said = (
        f"but got {type(batch).__name__}. The model is called as Only(a: 'Tensor', *, b: 'Tensor')"
    )
    assert said in str(caught.value)
    assert str(caught.value).endswith(": say how with a batch, call=lambda model, batch: model(…).")


def test_a_mapping_that_does_not_tell_is_refused_with_a_way_out() -> None:
    with pytest.raises(ValueError, match=r"tensors under \['u', 'v'\]") as caught:
        arguments(Pair(), WHOLE)
    (note,) = caught.value.__notes__
    assert note.startswith("The model is called as Pair(a: 'Tensor', b: 'Tensor'): say how")


def test_a_model_that_does_not_tell_gets_all_but_the_last() -> None:
    class Silent(nn.Module):
        forward: Any = dict.fromkeys  # has no signature

    assert called(Silent(), (X, M, Y)) == ((X, M), {}, Y)
    assert way_out(Silent()).startswith("The model is called as Silent(")


@pytest.mark.parametrize(
    ("model", "batch", "single"),
    [
        (nn.Flatten(), X, True),
        (nn.Flatten(), (X, Y), True),
        (nn.Flatten(), {"input": X, "labels": Y}, True),
        (Language(), LANGUAGE, False),
        (Pair(), (X, M, Y), False),
        (nn.Flatten(), PACKED, False),
        (nn.Flatten(), ([X, M], Y), False),
        (nn.Flatten(), (GRAPH, Y), False),
        (Whole(), WHOLE, False),
    ],
)
def test_one_tensor_alone_is_told_from_more(model: nn.Module, batch: Any, single: bool) -> None:
    found = Calling().single(model, batch)
    assert found is (X if single else None)
    assert Calling(lambda m, b: m(b)).single(model, batch) is None


def test_models_are_called_as_is_said() -> None:
    class Sum(nn.Module):
        def forward(self, a: Tensor, b: Tensor, y: Tensor | None = None) -> Tensor:
            return a + b + (0 if y is None else y)

    one, two, three = map(torch.tensor, (1, 20, 300))
    batch = {"a": one, "b": two, "y": three}
    assert Calling()(Sum(), batch) == 21
    assert Calling(own_loss=True)(Sum(), batch) == 321
    assert Calling(lambda model, batch: model(batch["b"], batch["b"]))(Sum(), batch) == 40
    assert Calling(lambda *_: None).arguments(Sum(), batch) is None


@pytest.mark.parametrize(
    ("model", "batch", "expected"),
    [
        (Language(), LANGUAGE, Calling(own_loss=True)),
        (Language(), {"input_ids": X, "attention_mask": M}, None),
        (Pair(), {"a": X, "b": M, "y": Y}, None),
        (Pair(), (X, M, Y), None),
        (Endless(), (X, Y), None),
        (nn.Flatten(), (X, Y), Calling(whole=True)),
        (nn.Flatten(), (X,), None),
        (nn.Flatten(), X, None),
    ],
)
def test_how_else_a_model_may_be_called(model: nn.Module, batch: Any, expected: Any) -> None:
    assert Calling().other(model, batch) == expected
    assert Calling(lambda m, b: m(b)).other(model, batch) is None


def test_a_whole_batch_goes_in_as_it_is() -> None:
    given = Calling(whole=True).arguments(nn.Flatten(), batch := (X, Y))
    assert given is not None
    assert (given.args, given.kwargs, given.target) == ((batch,), {}, Y)
    assert given.args[0] is batch


def test_mappings_without_a_tensor_are_refused() -> None:
    with pytest.raises(TypeError, match=r"must hold a tensor, but got a mapping of \['a', 'y'\]"):
        arguments(Positional(), {"a": 1, "y": Y})


@pytest.mark.parametrize(
    ("batch", "target"),
    [
        (X, None),
        (PACKED, None),
        ((X,), None),
        ((X, Y), Y),
        ({"x": X}, None),
        ({"x": X, "y": Y}, Y),
        (RECORD, Y),
        (Record(X, M), None),
        (GRAPH, Y),
        (3, None),
    ],
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


def test_what_is_moved_is_a_copy() -> None:
    """A model may change its input in place."""
    here = torch.device("cpu")
    batch = {"a": X, "b": [(X, 3)], "c": Record(X, M)}
    there = moved(batch, here)
    copies = [there["a"], there["b"][0][0], there["c"].a, there["c"].b]
    assert [c.tolist() for c in copies] == [t.tolist() for t in (X, X, X, M)]
    assert not {c.data_ptr() for c in copies} & {X.data_ptr(), M.data_ptr()}


def test_a_batch_in_a_few_words() -> None:
    batch = {"x": X, "more": [Y, (M.bool(), "text")]}
    assert described(batch) == "x: (4, 3) float32, more: (4,) int64, (4, 3) bool, str"
    for known in (RECORD, GRAPH):
        assert type(known).__name__ in described(known)
        assert "(4, 3) float32" in described(known)


def test_arguments_have_names() -> None:
    assert names_of(Pair(), 2) == ["a", "b"]
    assert names_of(Endless(), 2) == ["argument 1", "argument 2"]
    assert names_of(Only(), 1) == ["a"]


def test_packed_sequences_keep_their_sizes_on_the_cpu() -> None:
    packed = pack_sequence([torch.rand(3, 2), torch.rand(2, 2)])
    there, target = moved((packed, Y), torch.device("meta"))
    assert isinstance(there, PackedSequence)
    assert there.data.device.type == target.device.type == "meta"
    assert there.batch_sizes.tolist() == [2, 2, 1]
