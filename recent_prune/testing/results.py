"""Results written by hand: what a rule may meet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from recent_prune.probe import FirstSteps, ProbeResult


def example_result(retained: Sequence[float] = (0.6, 0.5), **fields: Any) -> ProbeResult:
    """A result as of a plain network on images; all but what is given is unremarkable.

    Args:
        retained: Share of the input's variance at each layer, in [0, 1]; its length is the depth.
        fields: Of :class:`ProbeResult`.
    """
    depth = len(retained)
    ones = (1.0,) * depth
    plain: dict[str, Any] = {
        "estimator": "ridge",
        "layers": tuple(f"tanh{i + 1}" for i in range(depth)),
        "relative_entropy": ones,
        "retained": tuple(retained),
        "differential_entropy": ones,
        "gram_entropy": ones,
        "activation_rms": ones,
        "relative_variance": ones,
        "jacobian_norm": ones,
        "cutoff": depth - 1,
        "input_rms": 0.5,
        "redundancy": 1.0,
        "normalized": False,
        "samples": 160,
        "seconds": 0.1,
    }
    return ProbeResult(**{**plain, **fields})


def example_steps(**fields: Any) -> FirstSteps:
    """First steps of a trial that goes well, in ten classes; all else as given.

    Args:
        fields: Of :class:`FirstSteps`.
    """
    plain: dict[str, Any] = {
        "made": 6,
        "budget": 500,
        "learning_rate": 1e-3,
        "losses": (2.5, 2.4, 2.3, 2.2, 2.1, 2.0),
        "gradient_norms": (1.6, 1.5, 1.4, 1.5, 1.4, 1.4),
        "weight_norm": 19.0,
        "first_update": 0.11,
        "update": 0.5,
        "update_ratios": (0.024, 0.026, 0.026, 0.026),
        "first_order": 0.13,
        "unreached": 0.0,
        "constant_loss": 2.3,
        "loss_before": 2.5,
        "loss_after": 1.9,
        "accuracy_before": 0.12,
        "accuracy_after": 0.4,
        "chance": 0.12,
        "output_spread_before": 0.36,
        "output_spread_after": 0.5,
        "output_change": 0.6,
    }
    return FirstSteps(**{**plain, **fields})


def example_results() -> dict[str, ProbeResult]:
    """One of each kind that a probe may return, by what it is."""
    with_steps = {name: example_result(steps=made) for name, made in _kinds_of_steps().items()}
    return _kinds_of_profiles() | with_steps


def _kinds_of_profiles() -> dict[str, ProbeResult]:
    nan = (math.nan,) * 3
    return {
        "a healthy network": example_result((0.7, 0.6, 0.5)),
        "one layer": example_result((0.5,), cutoff=0),
        "a deep network that loses its input": example_result(
            [0.7 * 0.8**i for i in range(50)],
            cutoff=20,
            relative_variance=tuple(0.5**i for i in range(50)),
        ),
        "collapse in the first layer": example_result(
            (0.0, 0.0), cutoff=0, relative_variance=(0.0, 0.0), gram_entropy=(0.0, 0.0)
        ),
        "activations that explode": example_result((0.4, 0.1), activation_rms=(1e6, 1e30)),
        "not finite from the second layer on": example_result(
            (0.6, 0.0, 0.0),
            cutoff=0,
            nonfinite_layer="tanh2",
            relative_entropy=(1.0, math.nan, math.nan),
            activation_rms=(1.0, math.inf, math.inf),
        ),
        "not finite at all": example_result(
            (0.0, 0.0, 0.0),
            cutoff=0,
            nonfinite_layer="tanh1",
            relative_entropy=nan,
            differential_entropy=nan,
            gram_entropy=nan,
            activation_rms=(math.inf,) * 3,
            relative_variance=nan,
            jacobian_norm=nan,
        ),
        "normalisation layers": example_result((0.3, 0.0), cutoff=0, normalized=True),
        "a model that draws random numbers": example_result((0.1, 0.0), stochastic=True),
        "a layer that starts at zero": example_result((0.5, 0.0), zeroed=True),
        "one output for all inputs": example_result((0.5, 0.0), constant_output=True),
        "inputs like noise": example_result((0.1, 0.05), redundancy=0.1),
        "tokens": example_result((0.4, 0.3), jacobian_norm=(math.nan, math.nan)),
        "the trained cascade": example_result(estimator="cascade", jacobian_norm=(math.nan,) * 2),
        "noise floors": example_result(retained_by_floor=((0.7, 0.6, 0.5), (0.6, 0.5, 0.4))),
    }


def _kinds_of_steps() -> dict[str, FirstSteps]:
    nowhere = {"loss_after": 2.5, "accuracy_after": 0.12}
    return {
        "first steps that help": example_steps(),
        "first steps that lead nowhere": example_steps(**nowhere),
        "first steps without a budget": example_steps(budget=None, **nowhere),
        "first steps that diverge": example_steps(loss_after=1e12, update=5e3),
        "a loss that is not finite": example_steps(
            nonfinite_step=2, losses=(2.5, math.nan), loss_after=math.nan, update=math.nan
        ),
        "no gradient": example_steps(unreached=1.0, gradient_norms=(0.0,) * 6, update=0.0),
        "a regression": example_steps(
            accuracy_before=math.nan, accuracy_after=math.nan, chance=math.nan
        ),
        "a loss whose constant prediction is unknown": example_steps(constant_loss=math.nan),
        "a model that does not say the same twice": example_steps(repeatable=False),
        "a rate above the critical one": example_steps(loss_after=40.0, critical_rate=1e-4),
    }
