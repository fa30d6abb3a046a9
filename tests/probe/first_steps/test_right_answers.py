"""Which share of the answers is right, and what chance has."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from recent_prune.probe.first_steps.reference import class_axis, counted, right
from tests.probe.first_steps.test_reference import Pairs, binary, classes, numbers

Y = torch.tensor([0, 1, 2, 3])


@pytest.mark.parametrize(
    ("output", "target", "axis"),
    [
        ((4, 10), Y, 1),
        ((4, 10, 7), torch.zeros(4, 7, dtype=torch.long), 1),
        ((4, 7, 10), torch.zeros(4, 7, dtype=torch.long), 2),
        ((4, 10, 5, 6), torch.zeros(4, 5, 6, dtype=torch.long), 1),
        ((4, 10), Y.to(torch.uint8), 1),
        ((4, 10), Y.float(), None),
        ((4, 10), torch.zeros(4, 10), None),
        ((4, 10), torch.zeros(4, 10, dtype=torch.long), None),
        ((4, 10), torch.zeros(3, dtype=torch.long), None),
        ((4, 10), Y.bool(), None),
        ((4, 10), None, None),
        ((4, 10), [0, 1, 2, 3], None),
    ],
)
def test_the_axis_of_the_classes(output: tuple[int, ...], target: Any, axis: int | None) -> None:
    assert class_axis(torch.zeros(output), target) == axis


def shares(pairs: Pairs) -> list[float]:
    return list(right([counted(output, target) for output, target in pairs]))


def test_right_answers_are_counted_over_all_batches() -> None:
    """Not the mean of the batches' accuracies: the last one may be small."""
    pairs = [
        (torch.eye(4)[[0, 1, 2, 3]], Y),
        (torch.eye(4)[[0, 0]], torch.tensor([0, 1])),
    ]
    assert shares(pairs) == pytest.approx([5 / 6, 2 / 6])


def test_ignored_targets_do_not_count() -> None:
    target = torch.tensor([0, -100, 0, 3])
    assert shares([(torch.eye(4), target)]) == pytest.approx([2 / 3, 2 / 3])
    found = shares([(torch.eye(4), torch.full((4,), -100))])
    assert all(map(math.isnan, found))


def test_positions_count_one_by_one() -> None:
    output = torch.zeros(2, 3, 5)
    output[:, 1] = 1  # class 1 everywhere
    target = torch.tensor([[1, 1, 1, 0, 2], [0, 0, 0, 0, 1]])
    assert shares([(output, target)]) == pytest.approx([0.4, 0.5])


@pytest.mark.parametrize("pairs", [numbers(3), binary(4), [], [*classes(), *numbers(1)]])
def test_where_there_are_no_classes_there_is_no_accuracy(pairs: Pairs) -> None:
    assert all(map(math.isnan, shares(pairs)))
