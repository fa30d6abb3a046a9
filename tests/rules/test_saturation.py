from __future__ import annotations

import pytest

from recent_prune.rules import SaturationRule
from tests.rules.results import result

rule = SaturationRule(max_retained=0.1)


def test_keeps_a_profile_that_changes_to_the_end() -> None:
    verdict = rule(result([0.9, 0.5, 0.05], cutoff=2))
    assert verdict.trainable
    assert verdict.violation == -0.05
    assert verdict.reason == "The relative entropy still changes at the last of 3 layers."


def test_condemns_what_is_deeper_than_the_cutoff() -> None:
    verdict = rule(result([0.5, 0.0, 0.0, 0.0], cutoff=1))
    assert not verdict.trainable
    assert verdict.violation == 0.75
    assert verdict.reason == (
        "The relative entropy saturates after 1 of 4 layers, and only 0.00% of the input is "
        "retained at 'tanh4'."
    )


def test_total_collapse_in_the_first_layer_is_untrainable() -> None:
    """A constant profile, which the published code calls fully trainable."""
    verdict = rule(result([0.0, 0.0, 0.0], cutoff=0))
    assert not verdict.trainable
    assert verdict.violation == 1.0


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_a_flat_profile_that_keeps_everything_is_trainable(depth: int) -> None:
    verdict = rule(result([0.9] * depth, cutoff=0))
    assert verdict.trainable
    assert "flat after 0 of" in verdict.reason


def test_a_single_layer_that_loses_everything_is_untrainable() -> None:
    assert not rule(result([0.0], cutoff=0)).trainable


def test_networks_with_normalisation_are_kept() -> None:
    assert rule(result([0.5, 0.0, 0.0], cutoff=1, normalized=True)).trainable
    assert rule(result([0.5, 0.0, 0.0], cutoff=1, stochastic=True)).trainable


def test_non_finite_activations_get_the_greatest_violation() -> None:
    verdict = rule(result([0.9, 0.0], nonfinite_layer="tanh2", cutoff=1))
    assert verdict.violation == 1.0
    assert "'tanh2'" in verdict.reason


def test_refuses_bad_settings() -> None:
    with pytest.raises(ValueError, match=r"`max_retained` must lie in \(0, 1\), but got 1.5"):
        SaturationRule(1.5)
