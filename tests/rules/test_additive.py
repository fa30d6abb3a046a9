from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recent_prune.rules.additive import AdditiveModel, Curve

CURVE = Curve((-1.0, 0.0, 2.0, 2.5), (3.0, -1.0, 0.5, 0.25))
MODEL = AdditiveModel(0.5, {"a": CURVE, "b": Curve((0.0, 1.0), (0.0, 2.0))})


@given(st.floats(-5, 5))
def test_a_curve_is_what_numpy_interpolates(x: float) -> None:
    assert CURVE(x) == pytest.approx(np.interp(x, CURVE.knots, CURVE.heights))


def test_a_curve_is_constant_beyond_its_ends() -> None:
    assert CURVE(-1e300) == CURVE(float("-inf")) == 3.0
    assert CURVE(1e300) == CURVE(float("inf")) == 0.25


@pytest.mark.parametrize(
    ("knots", "heights", "message"),
    [
        ((0.0,), (1.0,), r"`knots` must increase, two at least, but got \(0.0,\)"),
        ((0.0, 0.0), (1.0, 1.0), r"`knots` must increase, two at least, but got \(0.0, 0.0\)"),
        ((0.0, 1.0), (1.0,), "`heights` must hold a number for each of 2 knots, but got 1"),
    ],
)
def test_refuses_what_is_no_curve(
    knots: tuple[float, ...], heights: tuple[float, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Curve(knots, heights)


def test_log_odds_are_the_sum_of_the_curves() -> None:
    numbers = {"a": 1.0, "b": 0.25}
    assert MODEL.contributions(numbers) == pytest.approx({"a": -0.25, "b": 0.5})
    assert MODEL(numbers) == pytest.approx(0.5 - 0.25 + 0.5)


def test_survives_json() -> None:
    assert AdditiveModel.from_dict(json.loads(json.dumps(MODEL.to_dict()))) == MODEL
