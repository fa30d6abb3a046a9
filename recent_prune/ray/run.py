"""What a scheduler keeps of one run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from recent_prune.ray.gate import Gate


@dataclass
class Run:
    """What belongs to one run.

    Attributes:
        controller: Tune's.
        gate: None where nothing is held.
        known: Trials that the wrapped scheduler knows.
        condemned: Trials that condemned themselves.
    """

    controller: Any = None
    gate: Gate | None = None
    known: set[str] = field(default_factory=set)
    condemned: set[str] = field(default_factory=set)
