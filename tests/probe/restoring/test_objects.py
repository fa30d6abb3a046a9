from __future__ import annotations

import math
import weakref
from collections import deque
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import Dataset

from recent_prune.probe.restoring import objects
from recent_prune.probe.restoring.objects import attributes_restored
from recent_prune.probe.restoring.training_state import parameters_restored
from tests.networks import mlp
from tests.probe.first_steps.trials import model_state, snapshot
from tests.probe.restoring.overwriting import overwrite


class Wrapping(torch.optim.SGD):
    """Around another optimizer, as sharpness-aware minimization is."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, 0.1, momentum=0.9)
        self.inner = torch.optim.Adam(self.param_groups, 0.1)
        self.pair = ([1, 2], torch.zeros(2))
        self.calls = 0

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        super().step()
        self.inner.step()
        self.calls += 1
        self.pair[0].append(3)
        self.pair[1].add_(1)


@pytest.mark.parametrize("resumed", [False, True])
def test_optimizers_around_others_come_back_with_them(resumed: bool) -> None:
    model = mlp()
    optimizer = Wrapping(model.parameters())

    def step() -> None:
        model(torch.rand(5, 64)).sum().backward()
        optimizer.step()

    if resumed:
        step()

    def state() -> Any:
        return snapshot(vars(optimizer)), snapshot(vars(optimizer.inner))

    before = state()
    with parameters_restored(model), attributes_restored(optimizer):
        step()
        optimizer.param_groups[0]["lr"] = 3.0
        vars(optimizer)["added"] = 1
        assert state() != before
    assert state() == before
    assert bool(optimizer.inner.state) == resumed
    assert not hasattr(optimizer, "added")


class Owner:
    def __init__(self, held: dict[str, Any]) -> None:
        self.held = held
        self.count = 0

    def report(self) -> None:
        self.count += 1


leaves = st.one_of(
    st.integers(0, 3),
    st.none(),
    st.text(max_size=2),
    st.floats(width=32).map(torch.tensor),
)
nested = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.text(max_size=2), inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
    ),
    max_leaves=12,
)


def disturb(value: Any) -> None:
    if isinstance(value, Tensor):
        value.add_(1).mul_(-3)
    if isinstance(value, (list, tuple)):
        for item in value:
            disturb(item)
    if isinstance(value, list):
        value.append(0)
        value.reverse()
    if isinstance(value, dict):
        for item in value.values():
            disturb(item)
        value["new"] = 1
        del value[next(iter(value))]


@given(st.dictionaries(st.text(max_size=2), nested, max_size=4))
def test_whatever_an_owner_holds_comes_back(held: dict[str, Any]) -> None:
    owner = Owner(held)
    before = snapshot(vars(owner))
    with attributes_restored(owner):
        disturb(vars(owner)["held"])
    assert snapshot(vars(owner)) == before


def test_what_holds_itself_comes_back() -> None:
    owner = Owner({"a": torch.ones(2)})
    owner.held["self"] = owner.held
    with attributes_restored(owner):
        owner.held["a"].zero_()
        del owner.held["self"]
    assert owner.held["self"] is owner.held
    assert owner.held["a"].tolist() == [1, 1]


class Sealed(Tensor):
    """Refuses to be copied to."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.copy_:
            raise RuntimeError("it is sealed")
        return super().__torch_function__(func, types, args, kwargs)  # type: ignore[no-untyped-call]


def test_a_tensor_that_fails_stops_no_other() -> None:
    sealed, other = torch.ones(3).as_subclass(Sealed), torch.ones(3)
    owner = Owner({"sealed": sealed, "other": other, "count": 0})

    def disturbed() -> None:
        with attributes_restored(owner):
            owner.held.update(count=1, new=2)
            sealed.zero_()
            other.zero_()

    with pytest.raises(RuntimeError, match="it is sealed"):
        disturbed()
    assert list(owner.held) == ["sealed", "other", "count"]
    assert owner.held["count"] == 0
    assert other.tolist() == [1, 1, 1]


class Table(Dataset[int]):
    """Data sets are for their loader to put back."""

    rows = 0

    def __getitem__(self, index: int) -> int:
        return index


def test_what_an_owner_leads_to_comes_back() -> None:
    part, table, gone = Owner({"n": 0}), Table(), Owner({})
    teacher = nn.Linear(2, 2)
    loss = teacher(torch.ones(2)).sum()
    loss.backward()
    gradient = teacher.weight.grad
    held: dict[str, Any] = {"set": {1}, "deque": deque([1]), "array": np.array([math.nan, 1])}
    held |= {"table": table, "gone": weakref.proxy(gone), "hook": part.report, "self": part}
    owner = Owner({**held, "modules": (teacher,)})
    del gone
    before = model_state(teacher), snapshot(gradient)
    with attributes_restored(owner, model=nn.Linear(1, 1)):
        owner.held["set"].add(2)
        owner.held["deque"].append(2)
        owner.held["array"][:] = 0
        part.held["n"], part.count = 1, 1
        table.rows = 3
        assert gradient is not None
        overwrite(teacher)
        gradient.zero_()
    assert owner.held["set"] == {1}
    assert list(owner.held["deque"]) == [1]
    assert str(owner.held["array"]) == "[nan  1.]"
    assert (part.held, part.count, table.rows) == ({"n": 0}, 0, 3)
    assert (model_state(teacher), snapshot(gradient)) == before


def test_what_is_large_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "LARGEST_COPIES", 4)
    teacher, own = nn.Linear(2, 1), nn.Linear(2, 1)
    own.large = large = torch.zeros(2)
    owner = Owner({"large": torch.zeros(2), "small": torch.zeros(1), "teacher": teacher})
    teacher.count = count = torch.zeros(1)
    with attributes_restored(owner, own, model=nn.Linear(1, 1)), torch.no_grad():
        for tensor in (owner.held["large"], owner.held["small"], large, count):
            tensor += 1
        teacher.weight.fill_(7)
    assert (owner.held["large"].tolist(), owner.held["small"].tolist()) == ([1, 1], [0])
    assert (large.tolist(), count.tolist()) == ([0, 0], [0])
    assert teacher.weight.tolist() == [[7, 7]]


def test_far_objects_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "MOST", 30)
    parts = [Owner({}) for _ in range(20)]
    with attributes_restored(Owner({"parts": parts})):
        for part in parts:
            part.count = 1
    assert parts[0].count == 0
    assert parts[-1].count == 1


class Replay(deque[int]):
    """A container with attributes."""

    pushed = 0

    def push(self, item: int) -> None:
        self.append(item)
        self.pushed += 1


def test_containers_with_attributes_come_back_with_them() -> None:
    replay = Replay()
    replay.push(1)
    with attributes_restored(Owner({"replay": replay})):
        replay.push(2)
    assert (list(replay), replay.pushed) == ([1], 1)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_nested_tensors_end_nothing() -> None:
    nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
    owner = Owner({"nested": nested, "count": 0})
    with attributes_restored(owner):
        owner.held["count"] = 1
    assert owner.held["count"] == 0


def test_copies_have_a_bound_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "LARGEST_COPIES", 20)
    arrays = [np.zeros(1) for _ in range(3)]
    with attributes_restored(Owner({"own": Owner({"arrays": arrays})})):
        for array in arrays:
            array += 1
    assert [float(array[0]) for array in arrays] == [0, 0, 1]
