"""What the trials of a run come to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

from ray.tune.experiment import Trial
from ray.tune.utils import flatten_dict

from recent_prune.ray import tune_controller
from recent_prune.rules.rung_zero import Order


@dataclass(frozen=True)
class Ending:
    """What a trial came to.

    Attributes:
        ended: Whether it is over.
        value: Of the metric in its last result; None if it has none yet, or failed.
        seconds: That it took.
        iterations: That it reported.
    """

    ended: bool = False
    value: float | None = None
    seconds: float = 0.0
    iterations: int = 0

    @classmethod
    def of(cls, trial: Trial, metric: str) -> Self:
        """What a trial has come to by now.

        One that was stopped, by a scheduler or with the whole run, counts with its last value.
        """
        result = flatten_dict(trial.last_result or {})
        ended = tune_controller.is_over(trial)
        failed = trial.status == Trial.ERROR
        return cls(
            ended,
            number(result.get(metric)) if ended and not failed else None,
            number(result.get("time_total_s")) or 0.0,
            int(number(result.get("training_iteration")) or 0),
        )

    def order(self, maximize: bool) -> Order | None:
        """To compare it with others; None while it is not known.

        The further one got before it was stopped the better, then by its value.

        Args:
            maximize: Whether high values are better.
        """
        if not self.ended or self.value is None:
            return None
        return self.iterations, self.value if maximize else -self.value


def number(value: Any) -> float | None:
    """Of what a result may hold: also NumPy's numbers and tensors with one element."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return None if math.isnan(found) or isinstance(value, str) else found
