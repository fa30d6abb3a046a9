from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from recent_prune.rules.rung_zero.worth import EXPECTED, Worth, turned_down, worth


def orders(values: list[float]) -> list[tuple[float, ...]]:
    return [(math.inf, value) for value in values]


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=12),
    st.lists(st.integers(0, 9), min_size=1, max_size=12),
)
def test_the_same_as_mann_and_whitney(first: list[int], others: list[int]) -> None:
    found = worth(orders([float(v) for v in first]), orders([float(v) for v in others]))
    u = stats.mannwhitneyu(first, others).statistic
    assert found.superiority == pytest.approx(u / (len(first) * len(others)))
    assert (found.first, found.others) == (len(first), len(others))


def test_the_further_a_training_got_the_better() -> None:
    assert worth([(math.inf, 0.1)], [(3.0, 0.9)]).superiority == 1
    assert worth([(2.0, 0.9)], [(3.0, 0.1)]).superiority == 0
    assert worth([(3.0, -math.inf)], [(3.0, 0.1)]).superiority == 0


def test_without_trainings_of_both_kinds_earlier_sweeps_count() -> None:
    for found in (worth([], []), worth(orders([0.5]), []), worth([], orders([0.5]))):
        assert math.isnan(found.superiority)
        assert found.expected == EXPECTED
        assert turned_down(1 / 8, found) == 1 / 8


def test_the_error_is_that_of_rankings_without_meaning() -> None:
    rng = np.random.default_rng(0)
    drawn = [worth(orders(list(rng.random(12))), orders(list(rng.random(5)))) for _ in range(2000)]
    assert np.std([found.superiority for found in drawn]) == pytest.approx(drawn[0].error, rel=0.06)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (Worth(20, 8, 0.9, 0.12), 1 / 8),
        (Worth(200, 80, 0.66, 0.04), 1 / 8),
        (Worth(200, 80, 0.45, 0.03), 1.0),
        (Worth(20, 8, 0.1, 0.12), 1.0),
    ],
)
def test_a_ranking_that_says_nothing_is_turned_down(found: Worth, expected: float) -> None:
    assert turned_down(1 / 8, found) == pytest.approx(expected)


def test_three_trainings_are_not_enough_to_give_it_up() -> None:
    assert turned_down(1 / 8, Worth(2, 1, 0.0, 0.47)) < 1 / 5


@given(st.floats(0, 1), st.floats(0.01, 1), st.floats(0.01, 1))
def test_it_is_turned_down_step_by_step(superiority: float, error: float, keep: float) -> None:
    share = turned_down(keep, Worth(9, 3, superiority, error))
    better = turned_down(keep, Worth(9, 3, min(superiority + 0.05, 1), error))
    assert keep <= better <= share <= 1
