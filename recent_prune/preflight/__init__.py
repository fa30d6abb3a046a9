"""Before anything is allocated: does it fit, and how long will it take."""

from recent_prune.preflight.counting import Part
from recent_prune.preflight.estimating import preflight
from recent_prune.preflight.limits import Limits, Room, room_of
from recent_prune.preflight.result import Estimate, PreflightResult

__all__ = ["Estimate", "Limits", "Part", "PreflightResult", "Room", "preflight", "room_of"]
