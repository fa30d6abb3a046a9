"""Which of the candidates that wait are started."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from recent_prune.ray import ReconstructionEntropyScheduler
from recent_prune.ray.judging.outcome import Outcome
from recent_prune.ray.judging.rung_zero import RungZero
from recent_prune.ray.judging.situation import Situation
from recent_prune.rules.rung_zero import chance


def never(*_: Any) -> Any:
    raise AssertionError("probes are simulated")


def never_loaded() -> Any:
    raise AssertionError("probes are simulated")


def situation(**known: Any) -> Situation:
    defaults: dict[str, Any] = {
        "outcomes": {},
        "endings": lambda _: {},
        "ended": 0,
        "wanted": True,
        "overdue": False,
        "settled": True,
        "last": False,
        "together": False,
    }
    return Situation(**{**defaults, **known})


def candidates(scores: Sequence[float], start: int = 0) -> list[Outcome]:
    return [
        Outcome(f"t{start + i}", summary={"trainable": True}, score=score)
        for i, score in enumerate(scores)
    ]


def names(outcomes: Sequence[Outcome]) -> list[str]:
    return [outcome.trial_id for outcome in outcomes]


class TestRungZero:
    def test_the_best_is_started_when_a_worker_is_free(self) -> None:
        rung = RungZero(1 / 4, 0.0, None, None)
        assert rung.decide(candidates([1, 3, 2, 0, 5, 4, 7, 6]), situation(wanted=False)) == []
        (best,) = rung.decide([], situation())
        assert best.trial_id == "t6"
        assert best.passes
        assert best.rung == {
            "rank": 1,
            "of": 8,
            "keep": 0.25,
            "best": True,
            "explored": False,
            "share": 1.0,
        }
        assert names(rung.decide([], situation(settled=False))) == ["t7"]
        assert rung.decide([], situation(settled=False)) == []
        assert rung.waiting == {"t0", "t1", "t2", "t3", "t4", "t5"}

    def test_where_too_many_are_held_the_lowest_make_room(self) -> None:
        rung = RungZero(1 / 4, 0.0, None, None)
        stopped = rung.decide(candidates([1, 3, 2]), situation())
        assert names(stopped) == ["t0"]  # one more candidate makes a whole training
        assert stopped[0].stopped
        (best,) = rung.decide(candidates([0], start=3), situation())
        assert best.trial_id == "t1"

    @pytest.mark.parametrize("recalled", [False, True])
    def test_those_that_stand_too_low_are_drawn_the_oftener_the_more_are_condemned(
        self, recalled: bool
    ) -> None:
        bad = [Outcome(f"c{i}", summary={"trainable": False}, score=-1) for i in range(4)]
        rung = RungZero(1 / 4, 1 / 10, None, None)
        condemned = rung.decide(bad, situation())
        assert [c.rung["share"] for c in condemned if c.rung] == [0] * 4
        if recalled:
            rung = RungZero(1 / 4, 1 / 10, None, None)
            rung.recall({outcome.trial_id: outcome for outcome in condemned})
        ended = rung.decide(candidates([3, 2, 1, 0]), situation(last=True))
        stopped = [outcome.rung for outcome in ended if outcome.rung and not outcome.rung["best"]]
        assert stopped
        for place in stopped:
            assert place["share"] == pytest.approx(chance(1 / 10, 1 / 4, 4 / 8))

    def test_the_only_one_is_held_if_it_is_among_the_best(self) -> None:
        rung = RungZero(1 / 8, 0.0, None, None)
        assert rung.decide(candidates([5]), situation()) == []
        assert names(rung.decide(candidates([3], start=1), situation())) == ["t1"]
        rung.forget("t0")
        assert names(rung.decide(candidates([4], start=2), situation())) == ["t2"]
        assert rung.decide(candidates([6], start=3), situation()) == []
        assert names(rung.decide([], situation(overdue=True))) == ["t3"]

    def test_the_last_ones_are_decided_on(self) -> None:
        rung = RungZero(1 / 2, 0.0, None, None)
        decided = rung.decide(candidates([1, 4, 2, 3]), situation(last=True, wanted=False))
        assert names(decided) == ["t2", "t0"]
        assert rung.waiting == {"t1", "t3"}
        assert names(rung.decide([], situation(last=True))) == ["t1"]
        assert names(rung.decide([], situation(last=True))) == ["t3"]

    def test_scores_that_are_not_finite_come_last(self) -> None:
        rung = RungZero(1 / 2, 0.0, None, None)
        rung.decide(candidates([1.0, 2.0]), situation(wanted=False, settled=False))
        broken = [Outcome("b", summary={"trainable": True}, score=None)]
        decided = rung.decide(broken, situation(last=True, wanted=False))
        assert names(decided) == ["t0", "b"]

    def test_what_an_earlier_run_decided_counts(self) -> None:
        rung = RungZero(1 / 4, 0.0, None, None)
        first = rung.decide(candidates([1, 2, 3, 4]), situation(last=True))
        again = RungZero(1 / 4, 0.0, None, None)
        again.recall({o.trial_id: Outcome.from_dict(o.to_dict()) for o in first})
        assert again.decide(candidates([9, 8, 7], start=4), situation(settled=False)) == []
        assert names(again.decide(candidates([0], start=7), situation(settled=False))) == ["t4"]

    def test_those_of_a_cohort_are_decided_on_at_once(self) -> None:
        rung = RungZero(1 / 2, 0.0, None, None)
        held = situation(together=True, settled=False)
        assert rung.decide(candidates([1, 2, 3, 4]), held) == []
        decided = rung.decide([], situation(together=True, last=True))
        assert sorted(names([o for o in decided if o.passes])) == ["t2", "t3"]
        assert rung.waiting == set()


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"keep": 0}, ValueError, r"`keep` must be in \(0, 1\], but got 0"),
        ({"keep": math.nan}, ValueError, r"`keep` must be in \(0, 1\], but got nan"),
        ({"keep": True}, ValueError, r"`keep` must be in \(0, 1\], but got True"),
        ({"keep": "1/4"}, ValueError, r"`keep` must be in \(0, 1\], but got '1/4'"),
        ({"explore": 1}, ValueError, r"`explore` must be in \[0, 1\), but got 1"),
        ({"deadline_s": 0}, ValueError, "`deadline_s` must be positive seconds, but got 0"),
        ({"keep": 0.5}, TypeError, r"`keep` is 0\.5, and candidates are ranked .* give `training`"),
    ],
)
def test_bad_arguments(options: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        ReconstructionEntropyScheduler(never, never_loaded, **options)


@pytest.mark.parametrize("number", [Fraction(1, 4), np.float32(0.25)])
def test_numbers_of_any_kind(number: Any) -> None:
    gate = ReconstructionEntropyScheduler(
        never, never_loaded, training=never, keep=number, explore=number, deadline_s=number
    )
    assert gate._keep == gate._explore == 0.25
    assert type(gate._keep) is type(gate._explore) is float  # they are written as JSON
