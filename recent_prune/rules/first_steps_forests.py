"""The forests that are asked about a trial's first steps."""

from __future__ import annotations

import json
import math
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Literal

from recent_prune.rules.forest import Answer, Forest
from recent_prune.rules.step_numbers import profile_after, step_numbers

if TYPE_CHECKING:
    from recent_prune.probe import FirstSteps, ProbeResult

FLOORS = 3
"""Noise floors of the default estimator, by which the forest was fitted."""

Target = Literal["reach", "rank"]
"""What a forest predicts of a trial: how far it comes, which is judged, or the share of the other
trials of its task that it leaves behind, by which a sweep is ranked."""


@cache
def first_steps_model(target: Target, *, profile: bool) -> Forest:
    """A forest that comes with the package, from ``benchmarks/prediction/trials/fit.py``.

    Args:
        target: What it predicts.
        profile: Whether the one that also looks at the profile after the steps, or the one that
            looks at the steps alone.
    """
    file = files("recent_prune.rules").joinpath(f"first_steps_{target}.json")
    name = "steps and profile" if profile else "steps alone"
    return Forest.from_dict(json.loads(file.read_text(encoding="utf-8"))[name])


def asked(target: Target, result: ProbeResult, steps: FirstSteps, budget: int | None) -> Answer:
    """What the forests say: by the profile as well, where that is like those that were fitted.

    Args:
        target: What is predicted.
        result: Of the probe, after the steps.
        steps: What they showed.
        budget: Of the training, steps; None where it is not known.
    """
    numbers = step_numbers(steps, budget)
    floors = result.retained_by_floor[-1] if result.retained_by_floor else ()
    usable = len(floors) == FLOORS and result.inputs_recoverable and not result.stochastic
    if usable:
        after = profile_after(
            floors,
            result.relative_variance[-1],
            result.gram_entropy[-1],
            result.activation_rms[-1],
        )
        answer = first_steps_model(target, profile=True)({**numbers, **after})
        known = not any(map(math.isnan, after.values()))
        if known and not set(after) & set(answer.outside):
            return answer
    return first_steps_model(target, profile=False)(numbers)
