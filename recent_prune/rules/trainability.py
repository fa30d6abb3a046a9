"""Prune where networks with such a profile seldom trained."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from recent_prune.rules.additive import AdditiveModel
from recent_prune.rules.verdict import Verdict, check_share, nonfinite_verdict

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


@cache
def trainability_model(*, response: bool = True) -> AdditiveModel:
    """The curves that come with the package, from ``benchmarks/prediction/fit.py``.

    Args:
        response: Whether those of all numbers, or those of a fit without that one, for tokens.
    """
    text = files("recent_prune.rules").joinpath("trainability.json").read_text(encoding="utf-8")
    return AdditiveModel.from_dict(json.loads(text)["all" if response else "without response"])


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
    numbers = {
        "retained": result.retained[-1],
        "mean_retained": math.fsum(result.retained) / result.depth,
        "size": math.log(max(result.activation_rms[-1], LEAST) / max(result.input_rms, 1.0)),
        "response": math.log(min(max(result.jacobian_norm[-1], LEAST), 1 / LEAST)),
        "variance": math.log(max(result.relative_variance[-1], LEAST_VARIANCE)),
    }
    if math.isnan(result.jacobian_norm[-1]):
        del numbers["response"]
    return numbers


def log_odds(numbers: Mapping[str, float], model: AdditiveModel | None = None) -> float:
    """That a network trains whose profile has these numbers, nats; −∞ for a dead one.

    Args:
        numbers: See `profile_numbers`.
        model: Default: the one that comes with the package.
    """
    if _dead(numbers):
        return -math.inf
    chosen = model or trainability_model(response="response" in numbers)
    return min(chosen(numbers), math.log(LARGEST) - numbers["size"])


def _dead(numbers: Mapping[str, float]) -> bool:
    """Whether nothing of the input arrives, so that no gradient comes back."""
    if "response" in numbers:
        return numbers["response"] <= math.log(LEAST)
    return numbers["variance"] <= math.log(SAME)


@dataclass(frozen=True)
class TrainabilityRule:
    """Condemn an initialization if few networks with such a profile have trained.

    A generalized additive model of five numbers of the profile (`profile_numbers`), fitted to 740
    networks that were really trained (``benchmarks/prediction``): MLPs and CNNs of digits, 2 to 64
    layers, with and without normalisation and skips. More retained information never counts
    against a network; depth, width and hyperparameters are not asked for.

    It ranks networks better than the retained share alone: on 1,200 networks that were not looked
    at before its curves were chosen, and on other data, other initializations and learning rates
    (README of the benchmark). It says a **probability**, that of reaching an accuracy of
    0.5 within 600 steps with the best of a few optimizers, for networks drawn as those were: where
    you draw others, take it as a rank. A number beyond all that were seen counts as the outermost
    of them. Two things are certain without any fit: what does not respond to its inputs at all has
    probability 0, and from activations of 1e6 on (times those of the inputs, where these are above
    1) it is below one half and falls. Tokens cannot be perturbed, and are judged by curves that
    were fitted without the response.

    The violation is the share by which the probability falls short, ``1 − p / min_probability``,
    or ≤ 0: minus the excess as a share of what there can be. NaN or infinite activations:
    condemned with violation 1, and the layer is named. Where the inputs are so few, or so much
    like noise, that they could not be recovered from themselves, or the model draws random numbers
    as it runs, only dead and exploded networks are condemned.

    It is fitted to the ridge estimator's default settings, and means little for others.

    Attributes:
        min_probability: In (0, 1). Default 0.5: what is more likely to fail than not. In
            cross-validation 3 good networks of 522 lay below, and 95 of 120 that do not train;
            below 0.3, none and 78.

    Raises:
        ValueError: If it is out of its range.
    """

    min_probability: float = 0.5

    def __post_init__(self) -> None:
        check_share("min_probability", self.min_probability)

    def __call__(self, result: ProbeResult) -> Verdict:
        """Judge one probe."""
        nonfinite = nonfinite_verdict(result)
        if nonfinite is not None:
            return nonfinite
        numbers = profile_numbers(result)
        probability, least = _probability(log_odds(numbers)), self.min_probability
        certain = _dead(numbers) or numbers["size"] > math.log(LARGEST)
        if result.stochastic and not certain:
            return Verdict(
                True,
                0.0,
                "The model draws random numbers as it runs, so that what a layer retains says "
                "nothing.",
            )
        if not (result.inputs_recoverable or certain):
            return Verdict(
                True,
                0.0,
                "The inputs cannot be recovered from themselves, so that what a layer retains of "
                "them says nothing.",
            )
        if probability >= least:
            return Verdict(
                True,
                0.0 - (probability - least) / (1 - least),
                f"It trains with a probability of {probability:.1%}, by its profile.",
            )
        return Verdict(
            False,
            1 - probability / least,
            f"It trains with a probability of {probability:.1%}, by its profile (at least "
            f"{least:.1%} needed); what speaks most against it is "
            f"{_about_the_worst(result, numbers)}.",
        )

    def probability(self, result: ProbeResult) -> float:
        """That it trains, in [0, 1]; 0 for activations that are not finite."""
        return _probability(self.score(result))

    @staticmethod
    def score(result: ProbeResult) -> float:
        """Rank initializations: the log-odds (nats) that one trains, −∞ if it is dead or broken."""
        if result.nonfinite_layer is not None:
            return -math.inf
        return log_odds(profile_numbers(result))


def _probability(log_odds: float) -> float:
    # No overflow at either end.
    return 0.5 * (1 + math.tanh(0.5 * log_odds))


def _about_the_worst(result: ProbeResult, numbers: Mapping[str, float]) -> str:
    """The number that adds least to the log-odds, compared with the best that it could add."""
    model = trainability_model(response="response" in numbers)
    added = model.contributions(numbers)
    lost = {name: added[name] - max(model.curves[name].heights) for name in added}
    lost["size"] = min(lost["size"], math.log(LARGEST) - numbers["size"])
    return ABOUT[min(lost, key=lambda name: lost[name])].format(
        **numbers, rms=result.activation_rms[-1], varying=result.relative_variance[-1]
    )
