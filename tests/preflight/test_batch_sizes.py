from __future__ import annotations

from collections import UserDict
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence

from recent_prune.preflight.batch_sizes import resized


class Pair(NamedTuple):
    x: Tensor
    y: Tensor


@dataclass
class Held:
    x: Tensor
    y: Tensor
    name: str = "held"


def shapes(value: Any) -> Any:
    if isinstance(value, Tensor):
        return tuple(value.shape)
    if isinstance(value, (dict, UserDict)):
        return {key: shapes(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [shapes(item) for item in value]
    if isinstance(value, Held):
        return [shapes(value.x), shapes(value.y), value.name]
    return value


X, Y = torch.arange(12.0).reshape(6, 2), torch.arange(6)


@pytest.mark.parametrize("size", [1, 4, 6, 13])
def test_tensors_are_cut_or_repeated(size: int) -> None:
    found = resized((X, Y), size)
    assert found is not None
    x, y = found
    assert len(x) == len(y) == size
    assert torch.equal(x, torch.cat([X, X, X])[:size])
    assert torch.equal(y, torch.cat([Y, Y, Y])[:size])


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        ({"x": X, "y": Y, "scale": torch.ones(3)}, {"x": (2, 2), "y": (2,), "scale": (3,)}),
        (UserDict(x=X, y=Y), {"x": (2, 2), "y": (2,)}),
        (Pair(X, Y), [(2, 2), (2,)]),
        (Held(X, Y), [(2, 2), (2,), "held"]),
        (((X, X), Y), [[(2, 2), (2, 2)], (2,)]),
        ((X, Y, "train", None, 3), [(2, 2), (2,), "train", None, 3]),
        ([torch.zeros(3, 4, 4)] * 6, [(3, 4, 4)] * 2),
    ],
)
def test_what_holds_tensors(batch: Any, expected: Any) -> None:
    found = resized(batch, 2)
    assert type(found) is type(batch)
    assert shapes(found) == expected


def test_boxes_of_images_go_with_them() -> None:
    images = [torch.zeros(3, 4, 5), torch.zeros(3, 6, 4), torch.zeros(3, 4, 4)]
    targets = [{"boxes": torch.zeros(k, 4)} for k in (1, 2, 3)]
    found = resized((images, targets), 2)
    assert shapes(found) == [[(3, 4, 5), (3, 6, 4)], [{"boxes": (1, 4)}, {"boxes": (2, 4)}]]


def test_nothing_is_guessed() -> None:
    assert resized(pack_sequence([torch.zeros(3, 2), torch.zeros(2, 2)]), 1) is None
    graph = type("Graph", (), {})()
    graph.x, graph.num_graphs = torch.zeros(5, 2), 3
    assert resized(graph, 2) is None


def test_the_same_size_is_the_same_batch() -> None:
    batch = (X, Y)
    assert resized(batch, 6) is batch
