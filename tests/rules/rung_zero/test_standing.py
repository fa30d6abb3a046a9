from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recent_prune.rules.rung_zero.standing import (
    Place,
    Rung,
    Standing,
    chance,
    drawn,
    goes_on,
)


def place(best: bool, keep: float) -> Place:
    return Place(rank=1, of=1, keep=keep, best=best, explored=False, share=0.0)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=20),
    st.integers(0, 20),
    st.integers(0, 5),
)
def test_a_standing_counts_those_that_are_better(
    peers: list[tuple[int, bool]], counted: int, score: int
) -> None:
    known = [((float(s), i / 20), place(best, 0.25)) for i, (s, best) in enumerate(peers)]
    rung = Rung()
    for key, decided in known[:counted]:
        rung.add(key, decided)
    own = (float(score), 0.5)
    found = rung.standing(own, 0.5, known[counted:])
    assert found.rank == 1 + sum(key > own for key, _ in known)
    assert (found.of, found.gone_on) == (1 + len(peers), sum(best for _, best in peers))
    assert found.due == 0.25 * len(peers) + 0.5


@pytest.mark.parametrize(
    ("stood", "keep", "expected"),
    [
        ((1, 1, 0), 1 / 8, False),  # the share is no whole candidate yet
        ((1, 7, 0), 1 / 8, False),
        ((1, 8, 0), 1 / 8, True),
        ((2, 8, 1), 1 / 8, False),
        ((2, 16, 1), 1 / 8, True),
        ((3, 8, 0), 1 / 8, False),
        ((2, 8, 0), 1 / 8, False),
        ((4, 16, 0), 1 / 8, True),  # good ones came early, and none went on
        ((5, 16, 0), 1 / 8, False),
        ((4, 16, 1), 1 / 8, False),
        ((32, 32, 0), 1 / 8, True),  # nor did any later
        ((32, 32, 1), 1 / 8, False),
        ((9, 9, 0), 1.0, True),
        ((3, 10, 2), 0.3, True),  # 0.3 · 10 is 3, whatever floats make of it
    ],
)
def test_the_best_share_goes_on(stood: tuple[int, int, int], keep: float, expected: bool) -> None:
    assert goes_on(Standing(*stood, due=keep * stood[1]), keep) is expected


def test_a_share_that_rises_makes_up_for_nothing() -> None:
    # 80 candidates at 1/8, of which ten went on; from now on half of them do.
    assert not goes_on(Standing(60, of=81, gone_on=10, due=10.5), 1 / 2)
    assert goes_on(Standing(40, of=81, gone_on=10, due=10.5), 1 / 2)


def sweep(scores: list[float], keep: float) -> list[bool]:
    """Candidates one after the other."""
    rung = Rung()
    gone: list[bool] = []
    for number, score in enumerate(scores):
        own = (score, float(np.random.default_rng(number).random()))
        gone.append(goes_on(rung.standing(own, keep), keep))
        rung.add(own, place(gone[-1], keep))
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


def test_what_is_drawn_is_the_same_in_every_process() -> None:
    assert drawn("study", 3, "ties") == pytest.approx(0.5, abs=0.5)
    assert drawn("study", 3, "ties") == drawn("study", 3, "ties")
    others = {drawn("study", 4, "ties"), drawn("other", 3, "ties"), drawn("study", 3, "explore")}
    assert drawn("study", 3, "ties") not in others
    numbers = [drawn("study", i) for i in range(1000)]
    assert sum(numbers) / 1000 == pytest.approx(0.5, abs=0.03)


class TestChance:
    @pytest.mark.parametrize("keep", [1 / 16, 1 / 8, 1 / 2])
    @pytest.mark.parametrize("explore", [0.0, 0.05, 0.3])
    def test_they_are_that_share_of_the_trainings(self, keep: float, explore: float) -> None:
        at_random = (1 - keep) * chance(explore, keep)
        assert at_random / (keep + at_random) == pytest.approx(explore)

    def test_it_is_a_probability(self) -> None:
        assert chance(0.9, 0.5) == chance(0.05, 1.0) == 1.0
        assert chance(0.0, 1.0) == 0.0
