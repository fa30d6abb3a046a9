"""Let go of what errors hold."""

from __future__ import annotations

import traceback
from typing import TypeVar

Kept = TypeVar("Kept")


def light(outcome: Kept) -> Kept:
    """An error without what its frames hold: models, activations, the graph of a backward pass.

    Where it was raised stands in a note instead. What is no error comes back as it is.
    """
    errors: list[object] = [outcome]
    while errors:
        error = errors.pop()
        if isinstance(error, BaseException):
            if error.__traceback__ is not None:
                frames = "".join(traceback.format_tb(error.__traceback__))
                error.add_note(f"It was raised here, in a probe of many:\n{frames}")
            traceback.clear_frames(error.__traceback__)
            error.__traceback__ = None
            errors += [error.__cause__, error.__context__]
    return outcome
