"""Rung zero: which of the sampled candidates are trained, and what ranking them is worth.

Plain numbers, no framework: `standing` says who goes on, `worth` whether the ranking
holds, `telling` what samplers hear of it.
"""

from recent_prune.rules.rung_zero.standing import (
    Key,
    Place,
    Rung,
    Standing,
    chance,
    check_shares,
    drawn,
    error_of,
    goes_on,
    is_stopped,
    reason,
    score_of,
    scorer_of,
    stored,
    stored_score,
)
from recent_prune.rules.rung_zero.telling import constraint
from recent_prune.rules.rung_zero.worth import (
    Comparison,
    Order,
    Training,
    Worth,
    turned_down,
)

__all__ = [
    "Comparison",
    "Key",
    "Order",
    "Place",
    "Rung",
    "Standing",
    "Training",
    "Worth",
    "chance",
    "check_shares",
    "constraint",
    "drawn",
    "error_of",
    "goes_on",
    "is_stopped",
    "reason",
    "score_of",
    "scorer_of",
    "stored",
    "stored_score",
    "turned_down",
]
