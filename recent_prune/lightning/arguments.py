"""What the callback is given, checked."""

from __future__ import annotations

from typing import Literal, get_args

from optuna.trial import BaseTrial

from recent_prune.preflight import Limits
from recent_prune.probe import Training
from recent_prune.rules import Rule
from recent_prune.rules.certified import CertifiedRule
from recent_prune.rules.certified.arguments import check_rule

OnCondemned = Literal["stop", "warn", "raise"]


def check_judged_by(
    trial: BaseTrial | None, rule: Rule | CertifiedRule | None, on_condemned: str
) -> None:
    """Refuse what is no trial, no rule, or nothing that the callback could do."""
    if trial is not None and not isinstance(trial, BaseTrial):
        raise TypeError(f"`trial` must be an Optuna trial or None, but got {trial!r}.")
    if isinstance(rule, CertifiedRule) and trial is None:
        raise TypeError(f"`rule` must come with a `trial` to learn from, but got {rule!r}.")
    check_rule(rule)
    if on_condemned not in get_args(OnCondemned):
        raise ValueError(
            f"`on_condemned` must be 'stop', 'warn' or 'raise', but got {on_condemned!r}."
        )


def check_steps(first_steps: bool, steps: int | None, training: Training | None) -> None:
    """Refuse what contradicts itself."""
    if training is not None and not isinstance(training, Training):
        raise TypeError(f"`training` must be a Training or None, but got {training!r}.")
    if steps is not None and (isinstance(steps, bool) or not isinstance(steps, int) or steps < 1):
        raise ValueError(f"`steps` must be an integer ≥ 1 or None, but got {steps!r}.")
    if training is not None and (not first_steps or steps is not None):
        raise ValueError(
            "`training` says how first steps are made, so `first_steps` must be True and `steps` "
            f"None, but got {first_steps} and {steps}."
        )
    if steps is not None and not first_steps:
        raise ValueError(f"`steps` must be None where `first_steps` is False, but got {steps}.")


def check_limits(limits: object, first_steps: bool) -> None:
    """Refuse limits that are none, or could not be asked about."""
    if limits is not None and not isinstance(limits, Limits):
        raise TypeError(f"`preflight` must be Limits or None, but got {limits!r}.")
    if limits is not None and not first_steps:
        raise ValueError("`preflight` is of a training step, so `first_steps` must be True.")
