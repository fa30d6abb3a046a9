"""How a trial will rank among the others of its sweep, by its first steps, and how sure that is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recent_prune.rules.certain import certain_verdict
from recent_prune.rules.first_steps_forests import asked

if TYPE_CHECKING:
    from recent_prune.probe import FirstSteps, ProbeResult

TYPICAL_BUDGET = 500
"""Steps that a training of unknown length is ranked by: about the median of what was fitted."""


@dataclass(frozen=True)
class Ranking:
    """What is predicted of a trial among those of its sweep.

    Attributes:
        share: Of the other trials, that it will leave behind, in [0, 1]; −∞ if it is dead or
            broken.
        error: By how much the share is expected to be wrong, either way: the mean absolute error of
            trials on which the trees agree as well as here, in tasks that were left out of the fit
            (``benchmarks/prediction/trials``). 0 if it is dead or broken.
        outside: Names of the numbers that lie outside of what the forest was fitted to, see
            :func:`recent_prune.rules.step_numbers.step_numbers`; there it says what it says at the
            edge.
    """

    share: float
    error: float
    outside: tuple[str, ...] = ()


def ranking(result: ProbeResult, steps: FirstSteps) -> Ranking:
    """Ask the forest that ranks.

    Args:
        result: Of the probe, after the steps.
        steps: What they showed.
    """
    if certain_verdict(result, steps) is not None:
        return Ranking(-math.inf, 0.0)
    answer = asked("rank", result, steps, steps.budget or TYPICAL_BUDGET)
    return Ranking(answer.mean, answer.error, answer.outside)
