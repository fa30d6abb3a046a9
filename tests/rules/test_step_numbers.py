from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recent_prune.rules.step_numbers import LARGEST, NUMBERS, UNKNOWN_BUDGET, step_numbers
from tests.rules.steps import steps

numbers = st.floats(allow_nan=True, allow_infinity=True)


def test_numbers_of_a_trial() -> None:
    known = step_numbers(steps())
    assert tuple(known) == NUMBERS
    assert known["progress"] == pytest.approx(math.log(0.6 / 2.5 / 6 * 500))
    assert known["promise"] == pytest.approx(math.log(0.13 / 2.5 * 500))
    assert known["accuracy"] == pytest.approx(0.28 / 0.88)
    assert known["loss"] == pytest.approx(math.log(1.9 / 2.3))
    assert known["start"] == pytest.approx(math.log(2.5 / 2.3))
    assert known["trend"] == pytest.approx(math.log(2.0 / 2.5))
    assert known["update"] == pytest.approx(math.log(0.5 / 19))
    assert known["straightness"] == pytest.approx(math.log(0.5 / 0.66))
    assert known["median_update"] == pytest.approx(math.log(0.026))
    assert known["shift"] == pytest.approx(math.log(0.6 / 0.5))
    assert known["elasticity"] == pytest.approx(math.log(1.6 * 19 / 2.5))


@given(st.floats(1e-3, 1e3))
def test_a_loss_has_no_unit(scale: float) -> None:
    known = steps()
    scaled = dataclasses.replace(
        known,
        losses=tuple(scale * loss for loss in known.losses),
        gradient_norms=tuple(scale * norm for norm in known.gradient_norms),
        first_order=scale * known.first_order,
        constant_loss=scale * known.constant_loss,
        loss_before=scale * known.loss_before,
        loss_after=scale * known.loss_after,
    )
    # Of the outputs, whose unit a loss does not tell, only the root of the loss is there.
    free = [name for name in NUMBERS if name not in ("spread", "motion")]
    left, right = step_numbers(known), step_numbers(scaled)
    assert [left[n] for n in free] == pytest.approx([right[n] for n in free], abs=1e-6)


def test_budget() -> None:
    unknown = step_numbers(steps(budget=None))
    assert unknown == step_numbers(steps(budget=UNKNOWN_BUDGET))
    assert step_numbers(steps(), 1000)["progress"] > step_numbers(steps())["progress"]


def test_what_has_no_classes_is_measured_by_its_loss() -> None:
    nan = math.nan
    values = steps(accuracy_before=nan, accuracy_after=nan, chance=nan, loss_after=1.15)
    assert step_numbers(values)["accuracy"] == pytest.approx(0.5)


def test_without_outputs_three_numbers_are_missing() -> None:
    nan = math.nan
    known = step_numbers(
        steps(output_spread_before=nan, output_spread_after=nan, output_change=nan)
    )
    assert [name for name, value in known.items() if math.isnan(value)] == [
        "spread",
        "shift",
        "motion",
    ]


def test_an_unknown_constant_prediction_is_replaced_by_the_start() -> None:
    assert step_numbers(steps(constant_loss=math.nan))["start"] == 0.0


@given(st.fixed_dictionaries(dict.fromkeys(("loss_before", "loss_after", "update"), numbers)))
def test_all_others_are_finite(fields: dict[str, float]) -> None:
    for name, value in step_numbers(steps(**fields)).items():
        assert abs(value) <= LARGEST, name
