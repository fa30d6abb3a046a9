from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recent_prune.rules.rung_zero import Key, Standing, goes_on, standing


def test_rank_counts_those_that_are_better() -> None:
    peers = [(0.9, 0.5), (0.1, 0.5), (0.4, 0.9), (0.4, 0.1), (-math.inf, 0.3)]
    assert standing((0.4, 0.5), peers, 2) == Standing(rank=3, of=6, gone_on=2)
    assert standing((1.0, 0.0), [], 0) == Standing(rank=1, of=1, gone_on=0)


@pytest.mark.parametrize(
    ("place", "keep", "expected"),
    [
        (Standing(1, 1, 0), 1 / 8, False),  # the share is no whole candidate yet
        (Standing(1, 7, 0), 1 / 8, False),
        (Standing(1, 8, 0), 1 / 8, True),
        (Standing(2, 8, 1), 1 / 8, False),
        (Standing(2, 16, 1), 1 / 8, True),
        (Standing(3, 8, 0), 1 / 8, False),
        (Standing(2, 8, 0), 1 / 8, False),
        (Standing(4, 16, 0), 1 / 8, True),  # good ones came early, and none went on
        (Standing(5, 16, 0), 1 / 8, False),
        (Standing(4, 16, 1), 1 / 8, False),
        (Standing(32, 32, 0), 1 / 8, True),  # nor did any later
        (Standing(32, 32, 1), 1 / 8, False),
        (Standing(9, 9, 0), 1.0, True),
        (Standing(3, 10, 2), 0.3, True),  # 0.3 · 10 is 3, whatever floats make of it
    ],
)
def test_the_best_share_goes_on(place: Standing, keep: float, expected: bool) -> None:
    assert goes_on(place, keep) is expected


def sweep(scores: list[float], keep: float) -> list[bool]:
    """Candidates one after the other."""
    keys: list[Key] = []
    gone: list[bool] = []
    for number, score in enumerate(scores):
        own = (score, float(np.random.default_rng(number).random()))
        gone.append(goes_on(standing(own, keys, sum(gone)), keep))
        keys.append(own)
    return gone


@given(st.integers(0, 10_000), st.sampled_from([1 / 16, 1 / 8, 1 / 4, 1 / 2, 0.9]))
def test_the_share_that_goes_on_tends_to_keep(seed: int, keep: float) -> None:
    gone = sweep(list(np.random.default_rng(seed).random(400)), keep)
    assert sum(gone) / 400 == pytest.approx(keep, rel=0.6, abs=0.01)


@given(st.integers(0, 10_000))
def test_equal_scores_are_drawn_from(seed: int) -> None:
    gone = sweep([0.5] * 200, 1 / 8)
    assert 10 <= sum(gone) <= 50
    rising = sweep(sorted(np.random.default_rng(seed).random(100)), 1 / 8)
    falling = sweep(sorted(np.random.default_rng(seed).random(100), reverse=True), 1 / 8)
    assert sum(rising) >= 90  # each is better than all before it
    assert 1 <= sum(falling) <= 13


def test_everything_goes_on_where_all_are_kept() -> None:
    assert all(sweep([0.3, 0.1, math.nan, -math.inf], 1.0))
