"""Rung zero: which of the sampled candidates are trained, and what ranking them is worth.

Plain numbers, no framework: `standing` says who goes on, `worth` whether the ranking
holds, `telling` what samplers hear of it.
"""

from recent_prune.rules.rung_zero.standing import (
    Key,
    Standing,
    check_shares,
    drawn,
    goes_on,
    score_of,
    standing,
)
from recent_prune.rules.rung_zero.telling import constraint
from recent_prune.rules.rung_zero.worth import Order, Worth, turned_down, worth

__all__ = [
    "Key",
    "Order",
    "Standing",
    "Worth",
    "check_shares",
    "constraint",
    "drawn",
    "goes_on",
    "score_of",
    "standing",
    "turned_down",
    "worth",
]
