from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.prediction.retained_information import RetainedInformationRule
from tests.rules.results import result

shares = st.floats(0, 1)
rule = RetainedInformationRule(min_retained=0.1, max_activation_rms=1e3)


def test_keeps_what_arrives() -> None:
    verdict = rule(result([0.9, 0.5]))
    assert verdict.trainable
    assert verdict.violation == pytest.approx(-0.4 / 0.9)
    assert verdict.reason == "50.00% of the input is retained at 'tanh2'."


def test_condemns_what_is_lost_by_the_share_of_blind_layers() -> None:
    verdict = rule(result([0.5, 0.1, 0.0, 0.0]))
    assert not verdict.trainable
    assert verdict.violation == pytest.approx(0.5)
    assert verdict.reason == (
        "Only 0.00% of the input is retained at 'tanh4' (at least 10.00% needed); 50.0% of "
        "the depth is blind."
    )


def test_networks_that_draw_random_numbers_are_condemned_for_explosion_only() -> None:
    kept = rule(result([0.5, 0.0], stochastic=True))
    assert kept.trainable
    assert kept.reason.endswith(
        "which says nothing of networks that draw random numbers as they run."
    )
    assert not rule(result([0.5, 0.0], stochastic=True, activation_rms=(1.0, 1e9))).trainable
    assert not rule(result([0.5, 0.0])).trainable


def test_grades_between_layers() -> None:
    # From the input (1) to layer 1 (0, which counts as 1e-6) the share falls by six decades, and
    # below 0.1 after the first of them.
    assert rule(result([0.0])).violation == pytest.approx(5 / 6)
    assert rule(result([0.01])).violation == pytest.approx(1 / 2)


@given(st.lists(shares, min_size=1, max_size=20))
def test_violation_is_finite_and_its_sign_is_the_verdict(retained: list[float]) -> None:
    verdict = rule(result(retained))
    assert verdict.trainable == (retained[-1] >= 0.1)
    assert -1 <= verdict.violation <= 1


@given(st.lists(shares, min_size=1, max_size=20), shares)
def test_more_information_at_the_end_is_never_worse(retained: list[float], more: float) -> None:
    better = [*retained[:-1], max(retained[-1], more)]
    assert rule(result(better)).violation <= rule(result(retained)).violation


def test_earlier_loss_is_worse() -> None:
    late, early = rule(result([0.9, 0.9, 0.0])), rule(result([0.9, 0.0, 0.0]))
    assert 0 < late.violation < early.violation


def test_violation_is_continuous_at_the_threshold() -> None:
    above, below = rule(result([0.5, 0.1 + 1e-9])), rule(result([0.5, 0.1 - 1e-9]))
    assert above.trainable
    assert not below.trainable
    assert below.violation - above.violation < 1e-6


@pytest.mark.parametrize(("rms", "expected"), [(1e4, True), (3.4e38, True), (1e3, False)])
def test_condemns_explosion(rms: float, expected: bool) -> None:
    verdict = rule(result([0.9, 0.9], activation_rms=(1.0, rms)))
    assert verdict.trainable is not expected
    if expected:
        assert 0 < verdict.violation <= 1
        assert "explode" in verdict.reason


def test_worse_explosions_are_worse() -> None:
    small, large = (rule(result([0.9], activation_rms=(rms,))) for rms in (1e4, 1e9))
    assert small.violation < large.violation


def test_growth_is_only_judged_where_it_arrives() -> None:
    assert rule(result([0.9, 0.9], activation_rms=(1e9, 1.0))).trainable


def test_large_inputs_do_not_explode() -> None:
    large = {"activation_rms": (5000.0,), "input_rms": 1e4}
    assert rule(result([0.9], **large)).trainable
    assert not rule(result([0.9], **{**large, "input_rms": 1.0})).trainable


def test_networks_with_normalisation_are_condemned_only_for_explosion() -> None:
    kept = rule(result([0.5, 0.0], normalized=True))
    assert kept.trainable
    assert kept.reason.endswith("which says nothing of networks with normalisation layers.")
    assert not rule(result([0.5, 0.0], normalized=True, activation_rms=(1.0, 1e9))).trainable
    assert not rule(result([0.5, 0.0], normalized=True, nonfinite_layer="tanh2")).trainable


def test_non_finite_activations_get_the_greatest_violation() -> None:
    verdict = rule(result([0.9, 0.0], nonfinite_layer="tanh2", activation_rms=(1.0, math.inf)))
    assert verdict.violation == 1.0
    assert verdict.reason == "The activations of 'tanh2' are not finite."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min_retained": 0.0}, r"`min_retained` must lie in \(0, 1\), but got 0.0"),
        ({"min_retained": math.nan}, r"`min_retained` must lie in \(0, 1\), but got nan"),
        ({"max_activation_rms": 0.0}, "`max_activation_rms` must be positive, but got 0.0"),
    ],
)
def test_refuses_bad_settings(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RetainedInformationRule(**arguments)
