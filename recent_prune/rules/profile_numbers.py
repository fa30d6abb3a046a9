"""What a rule looks at in a profile, and the curves that were fitted to it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Literal

from recent_prune.rules.additive import AdditiveModel

if TYPE_CHECKING:
    from recent_prune.probe import ProbeResult

LEAST = 1e-30
"""Activations, or their response to a perturbation, below this count as this: zero has no
logarithm. None of 29 networks with no greater response trained."""

LEAST_VARIANCE = 1e-16
"""Likewise the share of the activations that varies: the square of float64's rounding error."""

SAME = 1e-13
"""Share up to which what varies is float32's rounding error."""

LARGEST = 1e6
"""Root mean square of the activations from where on a network is more likely to fail than not,
whatever else is well: 4 of 26 in ``benchmarks/prediction`` trained, none to within 0.1 of the best.
The curves do not say so of shallow networks, of which they were fitted to none as large."""

ABOUT = {
    "retained": "how much of the input is retained at the deepest layer ({retained:.2%})",
    "mean_retained": "how much of it the layers retain on average ({mean_retained:.2%})",
    "size": "the size of the deepest activations (root mean square {rms:.3g})",
    "response": "how a small perturbation of the inputs grows or fades on the way (its mean square "
    "by e^{response:.1f})",
    "variance": "how little the deepest activations differ between samples ({varying:.2g})",
}


Question = Literal["judge", "rank"]
"""Whether a network trains by the best of a few optimizers, by which it is judged; or how likely it
is to train by them and by plain SGD alone, by which networks are ranked."""

ARRIVES = 0.02
"""Share of the input that is retained where something surely arrives."""

ROUNDED = 1e-9
"""Mean square that a perturbation causes, over that by which activations vary, of codes: what is
left of it is the arithmetic's."""


@cache
def trainability_model(question: Question = "judge", *, response: bool = True) -> AdditiveModel:
    """The curves that come with the package, from ``benchmarks/prediction/fit.py``.

    Args:
        question: What they were fitted to.
        response: Whether those of all numbers, or those of a fit without that one, for tokens.
    """
    text = files("recent_prune.rules").joinpath("trainability.json").read_text(encoding="utf-8")
    which = "all" if response else "without response"
    return AdditiveModel.from_dict(json.loads(text)[question][which])


def profile_numbers(result: ProbeResult) -> dict[str, float]:
    """The five numbers of a profile that :class:`TrainabilityRule` looks at.

    Returns:
        ``retained`` at the deepest layer, and ``mean_retained`` over all layers, in [0, 1];
        ``size``, the logarithm of the deepest activations' root mean square (over that of the
        inputs, where it is above 1); ``response``, the logarithm of the Jacobian norm there: the
        e-foldings by which the mean square of a small perturbation of the inputs grows on the way
        (left out for tokens, which cannot be perturbed); ``variance``, the logarithm of the share
        of the deepest activations' second moment that varies over samples. All are finite if the
        activations are.
    """
    return named_numbers(
        retained=result.retained[-1],
        mean_retained=math.fsum(result.retained) / result.depth,
        rms=result.activation_rms[-1],
        input_rms=result.input_rms,
        response=result.jacobian_norm[-1],
        varying=result.relative_variance[-1],
    )


def why_silent(result: ProbeResult) -> str | None:
    """Why a profile that is finite and not dead says nothing, or None."""
    if result.stochastic:
        return (
            "The model draws random numbers as it runs, so that what a layer retains says nothing."
        )
    if result.layers == ("output",):
        return "No hidden layer is seen, of which a profile could tell anything."
    if _is_quantized(result):
        return (
            "A small perturbation vanishes though the input arrives, as where activations are "
            "rounded, so that it says nothing."
        )
    if not result.inputs_recoverable:
        return (
            "The inputs cannot be recovered from themselves, so that what a layer retains of them "
            "says nothing."
        )
    return None


def _is_quantized(result: ProbeResult) -> bool:
    """Whether codes, or steps, arrive at the deepest layer: they vary, but not by a little."""
    varies = result.activation_rms[-1] ** 2 * result.relative_variance[-1]
    response = result.jacobian_norm[-1]
    return result.retained[-1] > ARRIVES and response < ROUNDED * varies


def named_numbers(
    *,
    retained: float,
    mean_retained: float,
    rms: float,
    input_rms: float,
    response: float,
    varying: float,
) -> dict[str, float]:
    """What `profile_numbers` gives, from the deepest layer's numbers as a result has them."""
    numbers = {
        "retained": retained,
        "mean_retained": mean_retained,
        "size": math.log(max(rms, LEAST) / max(input_rms, 1.0)),
        "response": math.log(min(max(response, LEAST), 1 / LEAST)),
        "variance": math.log(max(varying, LEAST_VARIANCE)),
    }
    if math.isnan(response):
        del numbers["response"]
    return numbers


def log_odds(
    numbers: Mapping[str, float],
    model: AdditiveModel | None = None,
    *,
    question: Question = "judge",
) -> float:
    """That a network trains whose profile has these numbers, nats; −∞ for a dead one.

    Args:
        numbers: See `profile_numbers`.
        model: Default: the one that comes with the package.
        question: Which of them.
    """
    if is_dead(numbers):
        return -math.inf
    chosen = model or trainability_model(question, response="response" in numbers)
    return min(chosen(numbers), math.log(LARGEST) - numbers["size"])


def is_dead(numbers: Mapping[str, float]) -> bool:
    """Whether nothing of the input arrives, so that no gradient comes back."""
    if "response" in numbers:
        return numbers["response"] <= math.log(LEAST)
    return numbers["variance"] <= math.log(SAME)


def probability_of(log_odds: float) -> float:
    """The logistic function."""
    # No overflow at either end.
    return 0.5 * (1 + math.tanh(0.5 * log_odds))


def worst_number(numbers: Mapping[str, float]) -> str:
    """The name of the number that adds least to the log-odds, compared with the best it could."""
    model = trainability_model(response="response" in numbers)
    added = model.contributions(numbers)
    lost = {name: added[name] - max(model.curves[name].heights) for name in added}
    lost["size"] = min(lost["size"], math.log(LARGEST) - numbers["size"])
    return min(lost, key=lambda name: lost[name])


def about(name: str, result: ProbeResult, numbers: Mapping[str, float]) -> str:
    """A number in words."""
    return ABOUT[name].format(
        **numbers, rms=result.activation_rms[-1], varying=result.relative_variance[-1]
    )
