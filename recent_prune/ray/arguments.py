"""What the scheduler's arguments must be."""

from __future__ import annotations

import inspect
from numbers import Real
from typing import Any

from ray.tune.schedulers import PopulationBasedTraining, TrialScheduler
from torch import nn

from recent_prune.preflight import Limits
from recent_prune.probe import Training
from recent_prune.probe.probing import calling_of, resolved
from recent_prune.probe.quantities.cutoff import check_tolerance
from recent_prune.probe.watching.checks import check_layers
from recent_prune.ray.batches import takes_configuration
from recent_prune.ray.schedulers import innermost
from recent_prune.rules.certified import CertifiedRule
from recent_prune.rules.certified.arguments import check_ranks, check_rule
from recent_prune.rules.rung_zero import check_shares


def check_types(
    build_model: object, inputs: object, training: object, rule: object, wrapped: object
) -> None:
    """Refuse arguments of the scheduler that are of the wrong type.

    Raises:
        TypeError: If one is.
    """
    builds = callable(build_model) and not isinstance(build_model, nn.Module)
    if build_model is not None and not builds:
        raise TypeError(
            "`build_model` must be a function from a trial's configuration to a model, but got "
            f"{build_model!r}."
        )
    _check_takes("build_model", build_model, "configuration")
    if (build_model is None) != (inputs is None):
        raise TypeError(
            "`build_model` and `inputs` must be given together, or neither where trials call "
            f"probe_and_report, but got {build_model!r} and {type(inputs).__name__}."
        )
    takes_configuration(inputs)
    _check_training(training, build_model)
    if isinstance(rule, CertifiedRule):
        _check_certified(build_model, wrapped)
    check_rule(rule)
    _check_takes("rule", rule, "result")
    if wrapped is not None and not isinstance(wrapped, TrialScheduler):
        raise TypeError(
            "`wrapped` must be a Tune scheduler (an instance, not a class) or None, but got "
            f"{wrapped!r}."
        )


def check_probe(estimator: Any, layers: Any, rtol: Any, call: Any) -> None:
    """Refuse what the probe would refuse for every trial.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If one is out of its range.
    """
    resolved(estimator)
    check_layers(layers)
    if layers is not None and not len(layers):
        raise ValueError(f"`layers` must name modules of the model, but got {layers!r}.")
    check_tolerance(rtol)
    calling_of(None, call)
    _check_takes("call", call, "model", "batch")


def check_wrapped(wrapped: TrialScheduler | None, own: type[TrialScheduler], on_fault: str) -> None:
    """Refuse a gate behind a gate, and what a gate cannot do where a probe fails.

    Raises:
        TypeError: If the scheduler is wrapped in another one of its type.
        ValueError: If ``on_fault`` is neither.
    """
    if wrapped is not None and isinstance(innermost(wrapped), own):
        raise TypeError("`wrapped` must be another scheduler, but got this one twice.")
    if on_fault not in ("run", "reject"):
        raise ValueError(f"`on_fault` must be 'run' or 'reject', but got {on_fault!r}.")


def check_rung(
    keep: object, explore: object, deadline_s: object, training: object, rule: object
) -> None:
    """Refuse arguments of rung zero that do not fit.

    Raises:
        TypeError: If ``keep`` is below 1 without a ``training``.
        ValueError: If an argument is out of its range, or ``keep`` is below 1 for a CertifiedRule.
    """
    check_shares(keep, explore)
    if not isinstance(deadline_s, Real) or not float(deadline_s) > 0:
        raise ValueError(f"`deadline_s` must be positive seconds, but got {deadline_s!r}.")
    if keep == 1:
        return
    check_ranks(keep, rule)
    if training is None:
        raise TypeError(
            f"`keep` is {keep!r}, and candidates are ranked by their first steps: give `training`, "
            "a function of a trial's model and configuration."
        )


def check_limits(limits: object, training: object) -> None:
    """Refuse limits that are none.

    Raises:
        TypeError: If they are of another type, or there is no ``training``.
    """
    if limits is None:
        return
    if not isinstance(limits, Limits):
        raise TypeError(f"`preflight` must be Limits or None, but got {limits!r}.")
    if training is None:
        raise TypeError(
            "`preflight` is of a training step: give `training`, a function of a trial's model and "
            "configuration."
        )


def _check_training(training: object, build_model: object) -> None:
    if training is None:
        return
    if not callable(training) or isinstance(training, (type, nn.Module)):
        hint = ""
        if isinstance(training, Training):
            hint = ": give lambda model, config: Training(…), as each trial has its own optimizer"
        raise TypeError(
            "`training` must be a function from a trial's model and configuration to a Training or "
            f"None, but got {training!r}{hint}."
        )
    _check_takes("training", training, "model", "configuration")
    if build_model is None:
        raise TypeError(
            "`training` needs `build_model` and `inputs`: where trials call probe_and_report, give "
            f"it there, but got {training!r}."
        )


def _check_certified(build_model: object, wrapped: object) -> None:
    if build_model is None:
        raise TypeError("CertifiedRule needs `build_model` and `inputs`: it judges at the gate.")
    if isinstance(wrapped, TrialScheduler) and isinstance(
        innermost(wrapped), PopulationBasedTraining
    ):
        raise TypeError(
            "CertifiedRule cannot be used with population based training: what a trial comes to "
            f"there is not its own merit, but got wrapped={wrapped!r}."
        )


def _check_takes(name: str, function: Any, *arguments: str) -> None:
    """Refuse a function that cannot be called with so many arguments."""
    if not callable(function):  # None, or a CertifiedRule
        return
    try:
        # A decorator that adds an argument of its own leaves the inner one's signature behind.
        signature = inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):  # some that are written in C do not tell
        return
    try:
        signature.bind(*arguments)
    except TypeError as error:
        raise TypeError(
            f"`{name}` must be a function of {' and '.join(arguments)}, but got {function!r}, "
            f"which takes {signature.replace(return_annotation=signature.empty)}."
        ) from error
