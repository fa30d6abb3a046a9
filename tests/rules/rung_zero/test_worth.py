from __future__ import annotations

import math
from collections.abc import Iterable
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from recent_prune.rules.rung_zero.worth import (
    EXPECTED,
    LATEST,
    Comparison,
    Order,
    Training,
    Worth,
    turned_down,
)


def worth(trainings: Iterable[Training]) -> Worth:
    return Comparison(trainings).worth()


def of_groups(first: list[float], others: list[float]) -> Worth:
    """Of trainings of which no scores are known."""
    groups = ((True, first), (False, others))
    trainings = [Training(0.0, (v,), which) for which, values in groups for v in values]
    return worth(trainings)


def two(better: Order, worse: Order) -> Worth:
    """Of two trainings, by their scores."""
    return Comparison(
        [Training(1.0, better, first=True), Training(0.0, worse, first=False)]
    ).worth()


VALUES = st.lists(st.integers(0, 9).map(float), min_size=1, max_size=12)


@given(VALUES, VALUES)
def test_the_same_as_mann_and_whitney(first: list[float], others: list[float]) -> None:
    found = of_groups(first, others)
    u = stats.mannwhitneyu(first, others).statistic
    assert found.superiority == pytest.approx(u / (len(first) * len(others)))
    assert (found.first, found.others) == (len(first), len(others))


@given(st.permutations(range(9)), st.permutations(range(9)))
def test_the_same_as_kendall(scores: list[int], ends: list[int]) -> None:
    found = Comparison(
        Training(float(s), (e,), True) for s, e in zip(scores, ends, strict=True)
    ).worth()
    assert found.concordance == pytest.approx((1 + stats.kendalltau(scores, ends).statistic) / 2)


def test_a_training_takes_no_longer_after_many() -> None:
    compared = Comparison()
    for number in range(LATEST + 50):
        compared.add(Training(float(number), (number,), True))
    with mock.patch("recent_prune.rules.rung_zero.worth._agreement", return_value=1.0) as asked:
        compared.add(Training(0.5, (0.5,), True))
    assert asked.call_count == LATEST
    assert compared.worth().concordance == 1.0


def test_ties_count_half() -> None:
    assert two((1.0,), (1.0,)).concordance == 0.5
    lost = Comparison(
        [Training(-math.inf, (0.0,), True), Training(-math.inf, (1.0,), True)]
    ).worth()
    assert lost.concordance == 0.5


def test_the_further_a_training_got_the_better() -> None:
    for better, worse, expected in (
        ((math.inf, 0.1), (3.0, 0.9), 1),
        ((2.0, 0.9), (3.0, 0.1), 0),
        ((3.0, -math.inf), (3.0, 0.1), 0),
    ):
        found = two(better, worse)
        assert found.superiority == found.concordance == expected


def test_without_two_trainings_earlier_sweeps_count() -> None:
    for found in (worth([]), of_groups([0.5], []), of_groups([], [0.5])):
        assert math.isnan(found.superiority)
        assert math.isnan(found.concordance)
        assert found.expected == EXPECTED
        assert turned_down(1 / 8, found) == 1 / 8


def test_the_errors_are_those_of_rankings_without_meaning() -> None:
    rng = np.random.default_rng(0)
    drawn = [
        worth(Training(s, (e,), i < 12) for i, (s, e) in enumerate(rng.random((17, 2))))
        for _ in range(1500)
    ]
    assert np.std([found.superiority for found in drawn]) == pytest.approx(drawn[0].error, rel=0.06)
    expected = math.sqrt((2 * 17 + 5) / (18 * 17 * 16))
    assert np.std([found.concordance for found in drawn]) == pytest.approx(expected, rel=0.06)


@pytest.mark.parametrize(
    ("count", "concordance", "expected"),
    [(20, 0.7, 1 / 8), (20, 0.62, 1 / 8), (300, 0.61, 1 / 8), (300, 0.48, 1.0), (20, 0.2, 1.0)],
)
def test_a_ranking_that_says_nothing_is_turned_down(
    count: int, concordance: float, expected: float
) -> None:
    found = Worth(count, 0, concordance=concordance)
    assert turned_down(1 / 8, found) == pytest.approx(expected)


def test_three_trainings_are_not_enough_to_give_it_up() -> None:
    assert turned_down(1 / 8, Worth(3, 0, concordance=1 / 3)) < 1 / 5


@given(st.floats(0, 1), st.integers(2, 100), st.floats(0.01, 1))
def test_it_is_turned_down_step_by_step(concordance: float, count: int, keep: float) -> None:
    share = turned_down(keep, Worth(count, 0, concordance=concordance))
    better = turned_down(keep, Worth(count, 0, concordance=min(concordance + 0.05, 1)))
    assert keep <= better <= share <= 1
