"""Prune where trials that begin like this, or networks with such a profile, seldom trained."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recent_prune.rules.first_steps import judge_steps
from recent_prune.rules.profile_numbers import (
    LARGEST,
    about,
    is_dead,
    log_odds,
    probability_of,
    profile_numbers,
    why_silent,
    worst_number,
)
from recent_prune.rules.ranking import Ranking, ranking
from recent_prune.rules.verdict import (
    MAX_VIOLATION,
    Cause,
    Verdict,
    check_share,
    nonfinite_outputs,
    nonfinite_verdict,
    with_nonfinite,
)

if TYPE_CHECKING:
    from recent_prune.probe import ProbeResult

MIN_REACH = 0.12
"""The largest at which, whichever of task, data set, family and optimizer is left out, at most half
a percent of the good trials are lost (``benchmarks/prediction/trials``)."""

LOST = 0.005
"""Share of the input that must be retained at the deepest layer of a network without normalisation,
or a probability of `EVEN` is asked for: the threshold of version 0.1."""

NORMALIZED = 0.05
"""Probability that is enough for a network with normalisation layers. Of 347 in the samples of
``benchmarks/prediction`` five failed, of which 0.3 would catch none, and it would condemn real
architectures that train (``benchmarks/zoo``)."""

EVEN = 0.5
"""What is more likely to train than not."""


@dataclass(frozen=True)
class TrainabilityRule:
    """Condemn a trial whose first steps, or a network whose profile, few have had that trained.

    It uses what the result holds.

    **With first steps** (:class:`recent_prune.Training`) a forest of 100 small trees predicts the
    trial's *reach*: from 0, no better than a constant prediction at the end of its budget, to 1, as
    good as the best of its kind. It was fitted to trials of many tasks, each with its own optimizer
    (``benchmarks/prediction``), and looks at numbers that mean the same in every task
    (:func:`recent_prune.rules.step_numbers.step_numbers`), those of the profile after the steps
    among them, and at the steps alone where that profile is unlike all that were fitted; no
    hyperparameter is among them. A trial
    is condemned if less than ``min_reach`` is predicted, or less than two and a half times that
    where the profile after the steps speaks against it, too; never on a plateau from which deep
    networks depart late (:func:`recent_prune.rules.first_steps.required_reach`). The violation is
    the share by which it falls short. Condemned for certain are losses and gradients that are not
    finite, weights torn a hundredfold, and networks that no gradient reaches. What lies outside of
    what the forest was fitted to, does not say the same twice, or has a loss whose best constant
    prediction is unknown, is kept, and the reason says so. Without a known budget nobody is
    condemned for being slow.

    **Without them** it judges the initialization by five numbers of the profile
    (:func:`recent_prune.rules.profile_numbers.profile_numbers`), an additive model fitted to 740
    networks: the probability that one reaches an accuracy of 0.5 within 600 steps with the best of
    a few optimizers. It sees no learning rate. More retained information never counts against a
    network. Two things are certain without any fit: what does not respond to its inputs at all has
    probability 0 (unless a layer starts at zero on purpose: that is kept), and from activations of
    1e6 on (times those of the inputs, where these are above 1) it is below one half and falls.
    Where the inputs are so few, or so much like noise, that they could not be recovered from
    themselves, or the model draws random numbers as it runs, only dead and exploded networks are
    condemned. It is fitted to the ridge estimator's default settings.

    NaN or infinite activations: condemned with violation 1, and the layer is named.

    Attributes:
        min_probability: In (0, 1), without first steps. Default 0.3, and at least 0.5 where less
            than half a percent of the input arrives without normalisation layers: of 1,200 networks
            to which the curves were not fitted it loses 1 of 869 good ones and catches 133 of 170
            that do not train; 0.5 throughout loses 5 and catches 145, 0.3 throughout 1 and 118
            (``benchmarks/prediction``). With normalisation layers 0.05 is enough, see `NORMALIZED`.
        min_reach: In (0, 1), with first steps. Default 0.12, see `MIN_REACH`.

    Raises:
        ValueError: If one is out of its range.
    """

    min_probability: float = 0.3
    min_reach: float = MIN_REACH

    def __post_init__(self) -> None:
        check_share("min_reach", self.min_reach)
        check_share("min_probability", self.min_probability)

    def __call__(self, result: ProbeResult) -> Verdict:
        """Judge one probe."""
        if result.steps is not None:
            return judge_steps(result, result.steps, self.min_reach)
        verdict = nonfinite_verdict(result) or self._judge_profile(result)
        return with_nonfinite(verdict, nonfinite_outputs(result))

    def probability(self, result: ProbeResult) -> float:
        """That an initialization trains, in [0, 1], by its profile alone; 0 if it is not finite."""
        if result.nonfinite_layer is not None:
            return 0.0
        return probability_of(log_odds(profile_numbers(result)))

    @staticmethod
    def score(result: ProbeResult) -> float:
        """Rank the trials of one sweep: higher is better.

        Returns:
            With first steps the share of the other trials of a sweep that it is predicted to leave
            behind, in [0, 1], by forests of ``benchmarks/prediction/trials``; without, the log-odds
            (nats) that an initialization trains, be it by the best of a few optimizers or by SGD
            alone, by curves of their own. −∞ if it is dead or broken. The two are not comparable
            with each other.
        """
        if result.steps is not None:
            return ranking(result, result.steps).share
        if result.nonfinite_layer is not None:
            return -math.inf
        return log_odds(profile_numbers(result), question="rank")

    @staticmethod
    def ranking(result: ProbeResult) -> Ranking | None:
        """What the score says, with how sure it is; None without first steps."""
        return None if result.steps is None else ranking(result, result.steps)

    def _judge_profile(self, result: ProbeResult) -> Verdict:
        numbers = profile_numbers(result)
        dead = is_dead(numbers) or result.constant_output
        exploded = numbers["size"] > math.log(LARGEST)
        kept = _why_kept(result, certain=dead or exploded)
        if kept is not None:
            return Verdict(True, 0.0, kept)
        if result.constant_output:
            return Verdict(
                False, MAX_VIOLATION, "The output is the same for all inputs.", cause=Cause.DEAD
            )
        probability, least = probability_of(log_odds(numbers)), self.min_probability
        if result.normalized:
            least = min(least, NORMALIZED)
        elif result.retained[-1] < LOST:
            least = max(least, EVEN)
        if probability >= least:
            return Verdict(
                True,
                0.0 - (probability - least) / (1 - least),
                f"It trains with a probability of {probability:.1%}, by its profile.",
            )
        worst = worst_number(numbers)
        large = exploded or (worst == "size" and numbers["size"] > 0)
        return Verdict(
            False,
            1 - probability / least,
            f"It trains with a probability of {probability:.1%}, by its profile (at least "
            f"{least:.1%} needed); what speaks most against it is "
            f"{about(worst, result, numbers)}.",
            cause=Cause.DEAD if dead else Cause.EXPLODED if large else Cause.LOST,
        )


def _why_kept(result: ProbeResult, *, certain: bool) -> str | None:
    """Why the profile says nothing, if it does not."""
    if result.zeroed:
        return (
            "A layer's weights are all but zero at the start, so that nothing arrives behind it "
            "before the first step: give `training` to judge it by its first steps."
        )
    return None if certain else why_silent(result)
