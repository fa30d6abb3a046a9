from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from recent_prune.rules.rung_zero.telling import constraint


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(1e-9, 1))
def test_trained_before_stopped_before_condemned(one: float, other: float, broken: float) -> None:
    low, high = sorted((one, other))
    assert 0 < constraint(-0.3, high, stopped=True) <= constraint(-0.3, low, stopped=True) <= 1
    assert constraint(-0.3, low, stopped=False) == -0.3
    assert constraint(broken, high, stopped=False) > 1
    assert constraint(broken, high, stopped=True) > 1


def test_scores_are_told_apart() -> None:
    scores = [-50.0, -2.3, 0.1, 0.11, 0.9]
    told = [constraint(0.0, score, stopped=True) for score in scores]
    assert told == sorted(told, reverse=True)
    assert len(set(told)) == 5


def test_one_without_a_score_comes_last() -> None:
    assert constraint(0.0, None, stopped=True) == 1
