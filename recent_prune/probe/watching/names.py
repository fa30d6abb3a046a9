"""How activations are named."""

from __future__ import annotations


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
