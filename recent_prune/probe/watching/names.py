"""How activations are named."""

from __future__ import annotations

import re

_STEPS = re.compile(r"(.+)\.step(s|[1-9]\d*)")


def input_of(name: str) -> str:
    """What an activation is called that no module has made, after the module it arrives at."""
    return f"input of {name}"


def inner_name(name: str, number: int) -> str:
    """What the output of a layer inside of a recurrent stack is called, from 1 on."""
    return f"{name or 'model'}.layer{number}"


def without_number(name: str) -> str:
    """The plain name of a layer that came again, such as ``act#2``."""
    plain, _, number = name.rpartition("#")
    return plain if plain and number.isdigit() else name


def step_name(name: str, number: int) -> str:
    """What one time step of an activation is called, from 1 on."""
    return f"{name}.step{number}"


def all_steps(name: str) -> str:
    """What all time steps of an activation are asked for by."""
    return f"{name}.steps"


def name_of_steps(name: str) -> str | None:
    """Of which activation a name means time steps, ``lstm`` of ``lstm.steps`` or ``lstm.step3``."""
    found = _STEPS.fullmatch(name)
    return None if found is None else found[1]
