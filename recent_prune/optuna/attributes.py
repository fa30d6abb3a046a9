"""What `probe_trial` leaves in a study's storage, and how to read it.

All keys are user attributes of the trial. Scalars have a key of their own, since Optuna's
dashboard shows those; they are plain Python numbers, since every storage takes those.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from optuna.trial import FrozenTrial

from recent_prune.optuna import stored_images
from recent_prune.probe import FirstSteps, GradientProfile, ProbeResult
from recent_prune.probe.result import spread
from recent_prune.rules import Verdict, summary
from recent_prune.rules.summary import rounded

CONSTRAINT = "recent_prune"
"""Name of the constraint that carries the graded violation, e.g. 0.42; where candidates are ranked,
see :func:`recent_prune.rules.rung_zero.constraint`."""
TRIAL = "recent_prune:trial"
"""Number of the trial that was probed, e.g. 17; tells a retried trial's copy from its own."""
TRAINABLE = "recent_prune:trainable"
"""The verdict, e.g. False."""
VIOLATION = "recent_prune:violation"
"""The graded violation, ≤ 0 where trainable, e.g. 0.42."""
REASON = "recent_prune:reason"
"""One sentence, at most 1,000 characters, e.g. "Only 0.00% of the input is retained at …"."""
CAUSE = "recent_prune:cause"
"""Why it is condemned, one of :class:`recent_prune.rules.Cause`, e.g. "diverges"; or None."""
ADVICE = "recent_prune:advice"
"""What to change, one sentence, e.g. "Learning rate 0.3 is 12 times the critical 0.025."; None
where nothing is known."""
FAULT = "recent_prune:fault"
"""Why a trial could not be judged, one line, e.g. "RuntimeError: mat1 and mat2 shapes cannot be
multiplied"; such a trial is kept. None, or missing, where it was judged."""
LOSS_BEFORE = "recent_prune:loss_before"
"""Loss of the judged samples before the first steps, e.g. 2.31; None without steps, or if not
finite."""
LOSS_AFTER = "recent_prune:loss_after"
"""Likewise after them, e.g. 1.87."""
CONSTANT_LOSS = "recent_prune:constant_loss"
"""Likewise of the best constant prediction, e.g. 2.30."""
RETAINED = "recent_prune:retained"
"""Share of the input's variance recovered from the deepest layer, e.g. 0.318."""
RELATIVE_ENTROPY = "recent_prune:relative_entropy"
"""Relative entropy at the deepest layer, nats, e.g. 0.384; None if not finite."""
CUTOFF = "recent_prune:cutoff"
"""Number of layers before the profile saturates, e.g. 5."""
DEPTH = "recent_prune:depth"
"""Number of probed layers, e.g. 50."""
SECONDS = "recent_prune:seconds"
"""Wall-clock time of the probe, seconds, e.g. 0.083."""
PROFILE = "recent_prune:profile"
"""Profiles over depth, four digits, at most 64 layers, so below 2 KiB, e.g.
{"layer": [1, 2], "retained": [0.91, 0.33], "relative_entropy": [0.1, 0.3]}."""
GRADIENTS = "recent_prune:gradients"
"""How the gradients of the first step arrive, where there was one: by weighted layer that trains,
the head included, in the order of execution, four digits, at most 64 layers, so below 2 KiB; None
where not finite. E.g. {"layer": [1, 2], "gradient_rms": [4.4e-15, 0.012], "update_ratio": [6e-09,
0.007], "loss": 2.31}."""
STEPS = "recent_prune:steps"
"""What the first steps showed, where there were any: a :class:`recent_prune.probe.FirstSteps`, four
digits, at most 16 of the steps and 64 of the layers, so below 2 KiB; NaN is None, infinity "inf".
E.g. {"made": 6, "budget": 3000, "learning_rate": 0.1, "losses": [2.31, 2.25], …}."""

RANK_SCORE = "recent_prune:rank_score"
"""What the trial's first steps are worth, by the rule's ``score``, higher is better, e.g. 0.71;
None where not finite. Only where the pruner ranks (``keep`` below 1)."""
RANK_ERROR = "recent_prune:rank_error"
"""By how much that is expected to be wrong, either way, e.g. 0.13; None where the rule does not
say. Likewise."""
RUNG_ZERO = "recent_prune:rung_zero"
"""Where it stood then, e.g. {"rank": 3, "of": 17, "keep": 0.125, "best": False, "explored": False,
"share": 0.05}: whether it was among the best, whether it went on at random, and the probability
with which it was to go on."""
STOPPED = "recent_prune:stopped"
"""Whether rung zero stopped it, e.g. True."""

RECONSTRUCTIONS = "recent_prune:reconstructions"
"""Of the samples asked for, 8 bits a feature, see :mod:`recent_prune.optuna.stored_images`."""

PREFLIGHT = "recent_prune:preflight"
"""What a training step takes, and what there is, e.g. {"memory": 211812352, "free": 8000000000,
"capacity": 8000000000, "batch": 128, "operations": 93000000000, "method": "traced",
"step_seconds": 0.21, "training_seconds": 640.0, "trial": 17}, bytes and seconds; or {"fault": "…"}
where it failed. Only with ``probe_trial(…, preflight=…)``."""
OUT_OF_MEMORY = "recent_prune:out_of_memory"
"""Of a trial that ran out of memory all the same, e.g. {"estimate": 7100000000,
"available": 8000000000, "told": "Out of memory: …", "trial": 17}."""

FEATURES = "recent_prune:features"
"""What a certified rule learns from, below 300 bytes, e.g. {"score": 0.29, "depth": 3.4, …}."""
SCORE = "recent_prune:score"
"""The learned score that the trial was judged by, log-odds, e.g. -1.7; None while it watches."""
SHARE = "recent_prune:audit_share"
"""The probability with which the trial was to run though condemned, e.g. 0.41; None if it is not
condemned."""
STUDY_RULE = "recent_prune:rule"
"""Of the study: the settings of its certified rule, e.g. {"better_than": 0.9, …}."""
STUDY_FITTED = "recent_prune:fitted"
"""Of the study: the score and the threshold that it is judged by, a few KiB. A failed trial that
was never run carries it, too: the first one counts, where several processes fitted together."""

OF_CERTIFIED = (FEATURES, SCORE, SHARE)

PROFILE_LAYERS = 64
STORED_STEPS = 16
LONGEST_TEXT = 1000
"""Characters of a sentence: Optuna's dashboard shows 1,024, and SQL columns hold little more."""


def to_attributes(number: int, result: ProbeResult, verdict: Verdict) -> dict[str, Any]:
    """The user attributes of a probed trial; the verdict comes last.

    Attributes are written one by one: a process that dies in between leaves a trial without a
    verdict rather than one with half of its numbers.
    """
    known: dict[str, Any] = {
        f"recent_prune:{name}": value for name, value in summary(result, verdict).items()
    }
    trainable = known.pop(TRAINABLE)
    for name in (REASON, ADVICE):
        known[name] = None if known[name] is None else one_line(known[name])
    known[PROFILE] = _profile(result)
    if result.gradients is not None:
        known[GRADIENTS] = _gradients(result.gradients)
    if result.steps is not None:
        known[STEPS] = _steps(result.steps)
    if result.reconstructions is not None:
        known[RECONSTRUCTIONS] = stored_images.to_attribute(result)
    return {**known, TRIAL: number, TRAINABLE: trainable}


def of_failure(number: int, fault: str, verdict: Verdict, seconds: float) -> dict[str, Any]:
    """The user attributes of a trial that could not be judged, and is kept."""
    return {FAULT: fault, **of_verdict(number, verdict, seconds)}


def of_verdict(number: int, verdict: Verdict, seconds: float) -> dict[str, Any]:
    """The user attributes of a trial that has a verdict, but no result of a probe."""
    return {
        REASON: one_line(verdict.reason),
        CAUSE: None if verdict.cause is None else str(verdict.cause),
        ADVICE: None if verdict.advice is None else one_line(verdict.advice),
        VIOLATION: verdict.violation,
        SECONDS: seconds,
        TRIAL: number,
        TRAINABLE: verdict.trainable,
    }


def stale(present: Mapping[str, Any], known: Collection[str]) -> dict[str, None]:
    """What a trial has of another that it retries, or of an earlier probe, to be overwritten.

    Args:
        present: Its user attributes.
        known: Keys of those that it gets, or keeps.
    """
    return {
        key: None
        for key, value in present.items()
        if key.startswith("recent_prune:") and key not in known and value is not None
    }


def fault_of(error: BaseException) -> str:
    """An error with its notes, in one line."""
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    return one_line(f"{type(error).__name__}: {error}{notes}")


def one_line(text: str) -> str:
    """A text without line breaks, and not longer than `LONGEST_TEXT`."""
    text = " ".join(text.split())
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"


def carries_fit(trial: FrozenTrial) -> bool:
    """Whether it is no trial, but what a process had fitted for a certified rule."""
    return trial.user_attrs.get(STUDY_FITTED) is not None


def is_probed(trial: FrozenTrial) -> bool:
    """Whether the trial carries a verdict of its own, not one copied from a trial it retries.

    One that was taken over from another study (``study.add_trials``) has another number there.
    """
    if TRAINABLE not in trial.user_attrs:
        return False
    copied = retried(trial) or "fixed_params" in trial.system_attrs  # as of what is enqueued
    taken_over = trial.state.is_finished() and not copied
    return taken_over or trial.user_attrs.get(TRIAL) == trial.number


def retried(trial: FrozenTrial) -> list[int]:
    """Numbers of the trials that this one is tried again for, the earliest first."""
    known: list[int] = trial.system_attrs.get("retry_history", [])  # as Optuna's callback has it
    return known


def is_condemned(trial: FrozenTrial) -> bool:
    """Whether the trial was probed and found untrainable."""
    return is_probed(trial) and not trial.user_attrs[TRAINABLE]


def is_ranked(trial: FrozenTrial) -> bool:
    """Whether the trial has a place of its own at rung zero."""
    return is_probed(trial) and trial.user_attrs.get(RUNG_ZERO) is not None


def is_stopped(trial: FrozenTrial) -> bool:
    """Whether the trial stood too low at rung zero."""
    return is_ranked(trial) and bool(trial.user_attrs.get(STOPPED))


def _profile(result: ProbeResult) -> Mapping[str, Sequence[float | None]]:
    index = result.spread(PROFILE_LAYERS)
    return _by_layer(
        index, {"retained": result.retained, "relative_entropy": result.relative_entropy}
    )


def _gradients(gradients: GradientProfile) -> Mapping[str, Sequence[float | None] | float | None]:
    # Without the weights' own sizes, which would not fit into 2 KiB.
    profiles = {"gradient_rms": gradients.gradient_rms}
    if gradients.update_ratio is not None:
        profiles["update_ratio"] = gradients.update_ratio
    index = spread(len(gradients.layers), PROFILE_LAYERS)
    return {**_by_layer(index, profiles), "loss": rounded(gradients.loss)}


def _steps(steps: FirstSteps) -> Mapping[str, Any]:
    known = asdict(steps)
    for name, most in (
        ("step_seconds", STORED_STEPS),
        ("losses", STORED_STEPS),
        ("gradient_norms", STORED_STEPS),
        ("update_ratios", PROFILE_LAYERS),
    ):
        values = known[name]
        known[name] = [_rounded(values[i]) for i in spread(len(values), most)]
    return {name: _rounded(value) for name, value in known.items()}


def _rounded(value: Any) -> Any:
    """Four digits of a float, as :meth:`ProbeResult.to_dict` writes those that are not finite."""
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return rounded(value)


def _by_layer(
    index: Sequence[int], profiles: Mapping[str, Sequence[float]]
) -> dict[str, Sequence[float | None]]:
    chosen = {name: [rounded(values[i]) for i in index] for name, values in profiles.items()}
    return {"layer": [i + 1 for i in index], **chosen}
