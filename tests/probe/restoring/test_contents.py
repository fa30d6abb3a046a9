from __future__ import annotations

from collections import OrderedDict, deque
from typing import Any

import numpy as np
import pytest
import torch

from recent_prune.probe.restoring import contents
from recent_prune.probe.restoring.contents import kept_content


@pytest.mark.parametrize(
    "own",
    [
        [1, [2]],
        {1, 2},
        deque([1, 2], maxlen=2),
        {"a": 1, "b": 2},
        OrderedDict(a=1),
        np.array([np.nan, -0.0]),
        torch.tensor([torch.nan, -0.0]),
    ],
    ids=lambda own: type(own).__name__,
)
def test_what_is_in_it_comes_back(own: Any) -> None:
    before, put = repr(own), kept_content(own)
    assert put is not None
    if isinstance(own, (np.ndarray, torch.Tensor)):
        own += 1
    else:
        own.clear()
    assert repr(own) != before
    put()
    assert repr(own) == before


def test_what_has_none() -> None:
    assert kept_content(3) is None
    assert kept_content((1, 2)) is None


def test_arrays_that_are_large_or_cannot_be_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.zeros(2)
    array.flags.writeable = False
    assert kept_content(array) is None
    monkeypatch.setattr(contents, "LARGEST_ARRAY", 8)
    assert kept_content(np.zeros(2)) is None
    assert kept_content(np.zeros(1)) is not None


class Means(dict[str, list[float]]):
    """Shows something else than what it holds."""

    def items(self) -> Any:
        return [(name, sum(values) / len(values)) for name, values in super().items()]

    def __setitem__(self, name: str, values: list[float]) -> None:
        raise TypeError("by `add` alone")


def test_a_class_of_the_users_is_filled_as_it_was() -> None:
    own = Means({"loss": [1.0, 2.0]})
    put = kept_content(own)
    assert put is not None
    put()
    assert list(own.values()) == [[1.0, 2.0]]
    own.clear()
    put()
    assert list(own.values()) == [[1.0, 2.0]]


def test_an_iterator_that_came_to_its_end_does_not_come_back() -> None:
    own: dict[str, Any] = {"batches": iter([1]), "epoch": 0}
    put, later = kept_content(own), iter([2])
    assert put is not None
    own.update(batches=later, epoch=1)
    put()
    assert own == {"batches": later, "epoch": 0}
