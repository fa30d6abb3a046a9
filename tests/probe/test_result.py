from __future__ import annotations

import json
import math
from typing import Any

import pytest

from recent_prune.probe import FirstSteps, GradientProfile, ProbeResult
from tests.rules.results import result

# As version 0.1 wrote it.
EARLIER: dict[str, Any] = {
    "estimator": "ridge",
    "layers": ["tanh1", "tanh2"],
    "relative_entropy": [0.9, None],
    "retained": [0.7, 0.0],
    "differential_entropy": [-1.5, None],
    "gram_entropy": [0.4, None],
    "activation_rms": [0.6, "inf"],
    "relative_variance": [0.3, None],
    "jacobian_norm": [1.1, None],
    "cutoff": 1,
    "input_rms": 0.5,
    "redundancy": 0.8,
    "normalized": False,
    "samples": 160,
    "seconds": 0.02,
    "nonfinite_layer": "tanh2",
    "gradients": {
        "layers": ["hidden1", "head"],
        "gradient_rms": [1e-3, None],
        "weight_rms": [0.1, 0.2],
        "update_ratio": None,
        "loss": "inf",
    },
    "stochastic": False,
}


@pytest.mark.parametrize(
    ("depth", "most", "expected"),
    [(1, 7, [0]), (3, 7, [0, 1, 2]), (9, 3, [0, 4, 8]), (50, 1, [0]), (4, 3, [0, 2, 3])],
)
def test_layers_are_spread_evenly(depth: int, most: int, expected: list[int]) -> None:
    assert result([0.5] * depth).spread(most) == expected


def test_what_version_0_1_wrote_is_read() -> None:
    found = ProbeResult.from_dict(EARLIER)
    assert found.layers == ("tanh1", "tanh2")
    assert found.activation_rms == (0.6, math.inf)
    assert math.isnan(found.relative_entropy[1])
    assert found.nonfinite_layer == "tanh2"
    assert isinstance(found.gradients, GradientProfile)
    assert found.gradients.update_ratio is None
    assert found.gradients.loss == math.inf
    assert math.isnan(found.gradients.gradient_rms[1])
    assert found.retained_by_floor == ()
    assert (found.steps, found.before) == (None, None)
    assert (found.zeroed, found.constant_output) == (False, False)
    assert found.nonfinite_outputs == 0
    assert ProbeResult.from_dict(found.to_dict()) == found


def test_what_was_written_before_that_knew_less() -> None:
    earliest = {name: value for name, value in EARLIER.items() if name != "stochastic"}
    assert ProbeResult.from_dict(earliest) == ProbeResult.from_dict(EARLIER)


def steps(**other: Any) -> FirstSteps:
    numbers: dict[str, Any] = {
        "made": 2,
        "budget": None,
        "learning_rate": 0.1,
        "losses": (2.3, math.inf),
        "gradient_norms": (1.0, math.nan),
        "weight_norm": 3.0,
        "first_update": 0.1,
        "update": math.inf,
        "update_ratios": (0.1, math.inf),
        "first_order": 0.1,
        "unreached": 0.0,
        "constant_loss": 2.3,
        "loss_before": 2.4,
        "loss_after": math.nan,
        "accuracy_before": 0.1,
        "accuracy_after": math.nan,
        "chance": 0.12,
        "output_spread_before": 0.2,
        "output_spread_after": math.nan,
        "output_change": math.nan,
    }
    return FirstSteps(**{**numbers, **other})


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"budget": 900, "nonfinite_step": 2, "critical_rate": 0.01, "repeatable": False},
    ],
)
def test_steps_and_what_was_before_them_survive_json(other: dict[str, Any]) -> None:
    before = result([0.8, 0.7], retained_by_floor=((0.9, 0.7), (0.8, 0.6)))
    one = result([0.5, 0.4], steps=steps(**other), before=before, zeroed=True)
    text = json.dumps(one.to_dict(), allow_nan=False)
    back = ProbeResult.from_dict(json.loads(text))
    assert back.steps is not None
    # NaN is not equal to itself, but one object is.
    assert repr(back.steps) == repr(one.steps)
    assert back.before == before
    assert back.zeroed


@pytest.mark.parametrize(("change", "name"), [({"unheard": 1}, "unheard"), ({}, "retained")])
def test_missing_and_unknown_fields_are_named(change: dict[str, Any], name: str) -> None:
    data = {**EARLIER, **change}
    if not change:
        del data[name]
    with pytest.raises(ValueError, match=rf"\['{name}'\] are missing or unknown"):
        ProbeResult.from_dict(data)
