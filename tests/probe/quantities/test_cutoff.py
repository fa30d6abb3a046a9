from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recent_prune.probe import saturation_cutoff
from tests.conftest import Reference

CONSTANT = 1  # row of the reference profiles that is constant


@pytest.mark.parametrize(("rtol", "key"), [(0.005, "cutoff_rtol_0005"), (0.01, "cutoff_rtol_001")])
def test_agrees_with_authors_but_for_the_constant_profile(
    reference: Reference, rtol: float, key: str
) -> None:
    ours = [saturation_cutoff(list(profile), rtol) for profile in reference["profiles"]]
    expected = list(reference[key])
    assert expected[CONSTANT] == 10  # "fully trainable"
    expected[CONSTANT] = 0
    assert ours == expected


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=30), st.floats(0.1, 100))
def test_does_not_depend_on_the_unit(profile: list[float], factor: float) -> None:
    assert saturation_cutoff(profile, 0.0123) == saturation_cutoff(
        [factor * value for value in profile], 0.0123
    )


@given(st.lists(st.floats(0.1, 10), min_size=1), st.integers(1, 20))
def test_repeating_the_last_value_changes_nothing(profile: list[float], times: int) -> None:
    assert saturation_cutoff(profile) == saturation_cutoff(profile + profile[-1:] * times)


def test_leaves_the_profile_alone() -> None:
    profile = [0.1, 0.5, 0.5]
    assert saturation_cutoff(profile) == 0
    assert profile == [0.1, 0.5, 0.5]


def test_zero_at_the_end() -> None:
    assert saturation_cutoff([0.3, 0.1, 0.0, 0.0]) == 1


def test_refuses_bad_arguments() -> None:
    with pytest.raises(ValueError, match="`profile` must not be empty"):
        saturation_cutoff([])
    with pytest.raises(ValueError, match="must be finite, but got nan at index 1"):
        saturation_cutoff([0.1, math.nan])
    with pytest.raises(ValueError, match="`rtol` must be positive, but got 0"):
        saturation_cutoff([0.1], 0)
