"""The default rule of version 0.1, two thresholds, as a baseline to compare with.

Prune where too little of the input arrives at the last layer, or activations explode.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recent_prune.rules.verdict import MAX_VIOLATION, Verdict, check_share, nonfinite_verdict

if TYPE_CHECKING:
    from recent_prune.probe import ProbeResult

LARGEST_FLOAT32 = 3.4e38

LEAST_RETAINED = 1e-6
"""Where nothing is retained, it counts as this much: zero has no logarithm."""


@dataclass(frozen=True)
class RetainedInformationRule:
    """Condemn an initialization that loses its input on the way, or blows it up.

    It has two sides, since explosion is as deadly as collapse: a ReLU network with large weights
    can be inverted perfectly and still does not train.

    - **Lost**: at the deepest layer less than ``min_retained`` of the input's variance can be
      recovered. The violation is the share of the network's depth that the input does not reach,
      (0, 1]: 0.9 means that all but the first tenth of the layers are blind (between two layers
      the logarithm of the share is interpolated).
    - **Exploded**: the root mean square of the deepest activations exceeds
      ``max_activation_rms`` (times that of the inputs, where it is above 1). The violation is the
      excess on a logarithmic scale that ends at the largest float32, (0, 1].

    Otherwise the violation is ≤ 0: minus the smaller margin of the two.
    NaN or infinite activations: condemned with violation 1, and the layer is named.

    Networks with **normalisation layers** are never condemned for what they lose: MobileNetV2,
    for one, retains 0.1 % at its initialization and trains. Their signal is scaled up again at
    every layer, and no threshold for them has been measured. Nor are networks that draw random
    numbers as they run, or any network where the inputs are so few, or so much like noise, that
    they could not be recovered from themselves.

    The threshold is measured for the ridge estimator. The cascade retains other shares: with too
    few updates, or behind pooling, nothing of networks that train.

    Attributes:
        min_retained: In (0, 1).
        max_activation_rms: Positive, in units of the activations.

    Defaults: 0.005 and 1e3, chosen in ``benchmarks/prediction``. On three samples that had no part
    in it they catch 132 of 170 networks that do not train and lose 7 of 869 that come within 0.1 of
    the best accuracy, three of them residual ones for their activations: 1e5 is more careful.

    Raises:
        ValueError: If an attribute is out of its range.
    """

    min_retained: float = 0.005
    max_activation_rms: float = 1e3

    def __post_init__(self) -> None:
        check_share("min_retained", self.min_retained)
        if not self.max_activation_rms > 0:
            raise ValueError(
                f"`max_activation_rms` must be positive, but got {self.max_activation_rms}."
            )

    def __call__(self, result: ProbeResult) -> Verdict:
        """Judge one probe."""
        nonfinite = nonfinite_verdict(result)
        if nonfinite is not None:
            return nonfinite
        retained, rms = result.retained[-1], result.activation_rms[-1]
        lost, excuse = self._lost(result.retained), _excuse(result)
        excused = lost > 0 and excuse is not None
        if excused:
            lost = 0.0
        bound = self._bound(result)
        exploded = self._exploded(rms, bound)
        violation = min(max(lost, exploded), MAX_VIOLATION)
        deepest = result.layers[-1]
        if lost > 0:
            reason = (
                f"Only {retained:.2%} of the input is retained at {deepest!r} (at least "
                f"{self.min_retained:.2%} needed); {lost:.1%} of the depth is blind."
            )
        elif exploded > 0:
            reason = (
                f"The activations of {deepest!r} explode: root mean square {rms:.3g}, at most "
                f"{bound:.3g} allowed."
            )
        else:
            reason = f"{retained:.2%} of the input is retained at {deepest!r}"
            reason += f", which says nothing {excuse}." if excused else "."
        return Verdict(violation <= 0, violation, reason)

    def _bound(self, result: ProbeResult) -> float:
        # Inputs that are large themselves do not explode.
        return self.max_activation_rms * max(result.input_rms, 1.0)

    def _lost(self, retained: tuple[float, ...]) -> float:
        """Share of the depth behind the point where the profile falls below the threshold."""
        bound = self.min_retained
        if retained[-1] >= bound:
            return -(retained[-1] - bound) / (1 - bound)
        depth = len(retained)
        profile = (1.0, *retained)  # the input retains itself
        reached = max(i for i, value in enumerate(profile) if value >= bound)
        above, below = profile[reached], max(profile[reached + 1], LEAST_RETAINED)
        # Linear in the logarithm between two layers, so that the violation grows smoothly from 0.
        share = math.log(above / bound) / math.log(above / below)
        return 1 - (reached + min(share, 1)) / depth

    @staticmethod
    def _exploded(rms: float, bound: float) -> float:
        """Excess over the bound: 0 at the bound, 1 at the largest float32, −1 at no activation."""
        if rms <= bound:
            return -(1 - rms / bound)
        return math.log(rms / bound) / math.log(max(LARGEST_FLOAT32 / bound, rms / bound))


def _excuse(result: ProbeResult) -> str | None:
    """Why a network that retains little may train all the same."""
    if result.normalized:
        return "of networks with normalisation layers"
    if result.stochastic:
        return "of networks that draw random numbers as they run"
    if not result.inputs_recoverable:
        return "where the inputs cannot be recovered from themselves"
    return None
