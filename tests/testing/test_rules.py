"""Our own rules under the contract that others test theirs with, and rules that break it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from recent_prune import ProbeResult, Verdict
from recent_prune.preflight import Estimate, PreflightResult, Room
from recent_prune.rules import Cause, PreflightRule, Ranking, SaturationRule, TrainabilityRule
from recent_prune.testing import RuleContract, example_result


class TestTrainability(RuleContract):
    def rule(self) -> TrainabilityRule:
        return TrainabilityRule()


class TestSevereTrainability(RuleContract):
    def rule(self) -> TrainabilityRule:
        return TrainabilityRule(min_probability=0.9, min_reach=0.9)


class TestSaturation(RuleContract):
    def rule(self) -> SaturationRule:
        return SaturationRule()


class TestPreflight(RuleContract):
    """A rule on results of another kind."""

    def rule(self) -> PreflightRule:
        return PreflightRule(Room(10**9, 2 * 10**9), seconds=60)

    def results(self) -> Mapping[str, PreflightResult]:
        memory = Estimate.within(1e6, 0.1, 0.1)
        small = PreflightResult("cpu", "traced", 64, memory, {"activations": 10}, (), 9)
        return {
            "it fits": small,
            "it does not": replace(small, memory=Estimate.within(1e10, 0.1, 0.1)),
            "others hold the rest": replace(small, memory=Estimate.within(1.5e9, 0.1, 0.1)),
            "too slow": replace(small, budget=100, step_seconds=Estimate.within(5.0, 0.1, 0.1)),
            "smaller batches": replace(small, growth=((499_000.0, 1e3),)),
        }


class Broken(RuleContract):
    """Not collected: its tests are to fail."""

    def __init__(self, rule: Callable[[ProbeResult], Any]) -> None:
        self._rule = rule

    def rule(self) -> Callable[[ProbeResult], Any]:
        return self._rule


KEPT = Verdict(True, 0.0, "Kept.")


def sure(ranking: object) -> Callable[[ProbeResult], Verdict]:
    class Sure:
        def __call__(self, result: ProbeResult) -> Verdict:
            return KEPT

        def ranking(self, result: ProbeResult) -> Any:
            return ranking

    return Sure()


def scored(value: object) -> Callable[[ProbeResult], Verdict]:
    class Scored:
        def __call__(self, result: ProbeResult) -> Verdict:
            return KEPT

        def score(self, result: ProbeResult) -> Any:
            return next(value) if isinstance(value, itertools.count) else value

    return Scored()


def raises(result: ProbeResult) -> Verdict:
    return Verdict(True, 0.0, f"{round(result.activation_rms[-1])}")


def changing() -> Callable[[ProbeResult], Verdict]:
    numbers = itertools.count()
    return lambda _: Verdict(True, 0.0, f"Call {next(numbers)}.")


def by_clock(result: ProbeResult) -> Verdict:
    return Verdict(True, 0.0, f"It took {result.seconds} s.")


def by_what_is_not_stored(result: ProbeResult) -> Verdict:
    return Verdict(True, 0.0, f"Known: {'mark' in vars(result)}.")


def meddling(result: ProbeResult) -> Verdict:
    object.__setattr__(result, "retained", (0.0,))
    return KEPT


@pytest.mark.parametrize(
    ("rule", "test", "told"),
    [
        (raises, "every_result_gets_a_verdict", "explode: the rule raised|OverflowError"),
        (lambda _: True, "every_result_gets_a_verdict", "must return a Verdict, but returned True"),
        (changing(), "the_same_result_gets_the_same_verdict", r"first .*Call 25.*, then .*Call"),
        (by_clock, "the_clock_does_not_count", "but of a slower probe"),
        (meddling, "the_result_is_left_alone", "a healthy network: the result changed"),
        (lambda _: Verdict(True, 0.0, ""), "reasons_are_one_line_for_a_person", "is empty"),
        (lambda _: Verdict(True, 0.0, "a\nb"), "reasons_are_one_line_for_a_person", "several"),
        (
            lambda _: Verdict(True, 0.0, "Kept.", advice=" "),
            "reasons_are_one_line_for_a_person",
            "`advice` is empty",
        ),
        (
            lambda _: Verdict(False, 1.0, "Bad.", cause="bad"),  # type: ignore[arg-type]
            "only_what_is_condemned_has_a_cause",
            "must be a Cause or None, but is 'bad'",
        ),
        (
            lambda _: Verdict(True, 0.0, "Kept.", cause=Cause.DEAD),
            "only_what_is_condemned_has_a_cause",
            "kept, but with the cause dead",
        ),
        (scored("high"), "scores_can_be_sorted", "must be a number, but is 'high'"),
        (scored(math.nan), "scores_can_be_sorted", "the score is NaN"),
        (scored(math.inf), "scores_can_be_sorted", "beats every trial"),
        (scored(itertools.count()), "scores_can_be_sorted", "another score when asked again"),
        (sure(0.7), "rankings_say_how_sure_they_are", "a number as `error`, but is 0.7"),
        (sure(Ranking(0.7, -1.0)), "rankings_say_how_sure_they_are", "negative: -1.0"),
    ],
)
def test_a_rule_that_breaks_it_is_told(
    rule: Callable[[ProbeResult], Any], test: str, told: str
) -> None:
    with pytest.raises(AssertionError, match=told):
        getattr(Broken(rule), f"test_{test}")()


def test_a_verdict_on_what_is_not_stored_is_told() -> None:
    class Marked(Broken):
        def results(self) -> Mapping[str, ProbeResult]:
            marked = example_result()
            object.__setattr__(marked, "mark", True)
            return {"marked": marked}

    with pytest.raises(AssertionError, match="but after storing"):
        Marked(by_what_is_not_stored).test_a_result_that_was_stored_gets_the_same_verdict()


def test_nothing_to_judge_is_told() -> None:
    class Empty(Broken):
        def results(self) -> Mapping[str, ProbeResult]:
            return {}

    with pytest.raises(AssertionError, match="must hold one at least"):
        Empty(TrainabilityRule()).test_every_result_gets_a_verdict()


def test_the_rule_must_be_said() -> None:
    with pytest.raises(NotImplementedError, match="RuleContract must say its rule"):
        RuleContract().rule()
