"""Errors say where they were raised, and for which batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from recent_prune.probe.batches.moving import described


@contextmanager
def raising(where: str, *batches: Any, hint: Callable[[], str] = str) -> Iterator[None]:
    """Add to an error where it was raised, for which batches, and what to do."""
    try:
        yield
    except Exception as error:
        # A note keeps the type, so that a caller can still tell an out-of-memory error.
        of = f", for a batch of {'; '.join(map(described, batches[:2]))}" if batches else ""
        error.add_note(f"Raised in {where}{of}. {hint()}".strip())
        raise
