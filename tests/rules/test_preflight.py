from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest

from recent_prune.preflight import Estimate, Limits, PreflightResult, Room
from recent_prune.rules import Cause, PreflightRule
from recent_prune.rules.preflight import size

GIB = 2**30
RESULT = PreflightResult(
    device="cuda",
    method="traced",
    batch_size=128,
    memory=Estimate(10 * GIB, 9 * GIB, 12 * GIB),
    parts={"parameters": 2 * GIB, "activations": 8 * GIB},
    growth=((2 * GIB, GIB / 16),),
    operations=10**12,
    budget=1000,
)
TIMED = replace(RESULT, step_seconds=Estimate(0.1, 0.08, 0.13))


def room(free: float, capacity: float | None = None) -> Room:
    return Room(int(free * GIB), int((capacity or free) * GIB))


def test_too_large_where_the_lower_end_is_above_what_there_is() -> None:
    verdict = PreflightRule(room(8))(RESULT)
    assert verdict.cause == Cause.TOO_LARGE
    assert verdict.violation == pytest.approx(1 - 8 / 10)
    assert verdict.reason == "A training step takes about 10 GiB at batch 128, and there are 8 GiB."


def test_the_violation_grows_with_what_is_missing() -> None:
    violations = [PreflightRule(room(limit))(RESULT).violation for limit in (8, 4, 1, 0.01)]
    assert violations == sorted(violations)
    assert all(0 < violation < 1 for violation in violations)


def test_unsure_is_kept() -> None:
    verdict = PreflightRule(room(9.5))(RESULT)
    assert verdict.trainable
    assert verdict.violation == 0
    assert verdict.reason.endswith("of 9.5 GiB: whether it fits is unsure.")
    assert not PreflightRule(room(9.5), margin=0.0)(RESULT).trainable


def test_what_fits_has_room_left() -> None:
    verdict = PreflightRule(room(40))(RESULT)
    assert verdict.trainable
    assert verdict.violation == pytest.approx(10 / 40 - 1)
    assert verdict.reason == "A training step takes about 10 GiB of 40 GiB: it fits."


def test_what_others_hold_condemns_nobody() -> None:
    verdict = PreflightRule(room(2, 80))(RESULT)
    assert verdict.trainable
    assert "2 GiB are free now, but 80 GiB are there: others hold the rest" in verdict.reason


def test_without_limits_nothing_is_condemned() -> None:
    verdict = PreflightRule()(TIMED)
    assert (verdict.trainable, verdict.violation, verdict.cause) == (True, 0.0, None)
    assert "no limit is known" in verdict.reason


def test_too_slow_where_the_lower_end_is_above_the_limit() -> None:
    verdict = PreflightRule(seconds=50)(TIMED)
    assert verdict.cause == Cause.TOO_SLOW
    assert verdict.violation == pytest.approx(0.5)
    assert verdict.reason == "The full training takes about 100 s, and there are 50 s."
    assert verdict.advice == "50% of its 1000 steps end in time."
    assert PreflightRule(seconds=90)(TIMED).trainable  # 80 s are possible
    assert PreflightRule(seconds=200)(TIMED).violation == pytest.approx(-0.5)


@pytest.mark.parametrize("result", [RESULT, replace(TIMED, budget=None)])
def test_nothing_is_too_slow_without_steps_or_budget(result: PreflightResult) -> None:
    assert PreflightRule(seconds=1e-9)(result).trainable


def test_too_large_comes_before_too_slow() -> None:
    assert PreflightRule(room(1), seconds=1)(TIMED).cause == Cause.TOO_LARGE


def test_the_scarcer_limit_tells_how_much_room_is_left() -> None:
    assert PreflightRule(room(40), seconds=110)(TIMED).violation == pytest.approx(100 / 110 - 1)


def test_advice_names_the_batch_that_fits() -> None:
    advice = PreflightRule(room(8))(RESULT).advice
    # Of 8 GiB 2 may be needed besides; 4 GiB hold 32 samples, and each of the others takes 1/16.
    assert advice == (
        "It fits at batch 64 instead of 128 (accumulate=2 for the same samples a step); 80% are "
        "activations, of which gradient checkpointing holds fewer."
    )


def test_advice_where_no_batch_fits() -> None:
    assert PreflightRule(room(0.5))(RESULT).advice == "It fits at no batch size."
    unknown = replace(RESULT, growth=())
    assert PreflightRule(room(0.5))(unknown).advice is None


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1000, "0.977 KiB"),
        (201 * 2**20, "201 MiB"),
        (5.4 * GIB, "5.4 GiB"),
        (3e15, "2728 TiB"),
    ],
)
def test_bytes_for_a_person(count: float, text: str) -> None:
    assert size(count) == text


def test_when_no_time_is_left_all_that_takes_any_is_too_slow() -> None:
    verdict = PreflightRule(seconds=0.0)(TIMED)
    assert verdict.cause == Cause.TOO_SLOW
    assert verdict.violation == 1
    assert PreflightRule(seconds=0.0)(RESULT).trainable  # before steps were timed


class TestUnlikeWorkers:
    KINDS = MappingProxyType({"A100": 80.0 * GIB, "V100": 16.0 * GIB, "T4": 8.0 * GIB})

    def rule(self) -> PreflightRule:
        limits = Limits(memory=self.KINDS)
        return PreflightRule.within(limits, limits.room("cuda"))

    def test_one_that_fits_some_is_kept_and_placed(self) -> None:
        verdict = self.rule()(RESULT)
        assert verdict.trainable
        assert verdict.advice == "Place it on V100 or A100: it is too large for T4 (8 GiB)."

    def test_one_that_fits_all_may_go_anywhere(self) -> None:
        verdict = self.rule()(replace(RESULT, memory=Estimate(3 * GIB, 2 * GIB, 4 * GIB)))
        assert (verdict.trainable, verdict.advice) == (True, None)

    def test_one_that_fits_none_is_condemned_by_the_largest(self) -> None:
        verdict = self.rule()(replace(RESULT, memory=Estimate(100 * GIB, 90 * GIB, 120 * GIB)))
        assert verdict.cause == Cause.TOO_LARGE
        assert verdict.reason.endswith("there are 80 GiB.")
