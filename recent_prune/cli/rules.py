"""Rules named on a command line."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import typer

from recent_prune.cli.factory import FORM, found_in
from recent_prune.rules import Rule, SaturationRule, TrainabilityRule, Verdict

if TYPE_CHECKING:
    from recent_prune.probe import ProbeResult

GROUP = "recent_prune.rules"
"""Entry points of a package that brings rules: ``name = "module:Rule"``."""
OURS = {"trainability": TrainabilityRule, "saturation": SaturationRule}


def rule_named(text: str) -> Rule:
    """A rule by its name: ours, that of an installed package, or ``module:name``.

    A class is called without arguments.

    Raises:
        typer.BadParameter: If there is none of that name.
        ValueError: If it cannot be imported, or is no rule.
    """
    found = _found(text)
    try:
        rule = found() if isinstance(found, type) else found
    except TypeError as error:
        raise ValueError(f"--rule {text} cannot be made without arguments: {error}") from error
    if not callable(rule):
        raise ValueError(f"--rule {text} must be a rule, but is {type(rule).__name__}")

    def checked(result: ProbeResult) -> Verdict:
        verdict = rule(result)
        if not isinstance(verdict, Verdict):
            raise TypeError(f"--rule {text} must return a Verdict, but returned {verdict!r}")
        return verdict

    return checked


def _found(text: str) -> Any:
    if ":" in text:
        return found_in(text, "--rule")
    installed = entry_points(group=GROUP)
    if text in OURS or text not in installed.names:
        if text not in OURS:
            names = ", ".join(sorted(OURS | dict.fromkeys(installed.names)))
            told = f"must be one of {names}, or {FORM}, but got {text}"
            raise typer.BadParameter(told, param_hint="--rule")
        return OURS[text]
    try:
        return installed[text].load()
    except Exception as error:  # whatever a module of somebody's raises
        raise ValueError(
            f"--rule {text} ({installed[text].value}) cannot be imported: "
            f"{type(error).__name__}: {error}"
        ) from error
