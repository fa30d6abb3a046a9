"""Which of the sampled candidates are trained: a rung below the first epoch.

As in asynchronous successive halving (arXiv 1810.05934) a candidate goes on if it is among the best
share of those that were seen before it, itself included; here by a score of its first steps. Other
than there, nothing goes on before the share comes to one whole candidate: to look at 1 / share of
them costs less than to train one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Key = tuple[float, float]
"""Score, higher is better, and a number drawn for the candidate, which breaks ties."""


@dataclass(frozen=True)
class Standing:
    """Where a candidate stands.

    Attributes:
        rank: Among all candidates so far, 1 is the best.
        of: Candidates so far, itself included.
        gone_on: How many of the earlier ones went on by their rank.
    """

    rank: int
    of: int
    gone_on: int


def standing(own: Key, peers: Sequence[Key], gone_on: int) -> Standing:
    """Where a candidate stands among earlier ones.

    Args:
        own: Of the candidate.
        peers: Of those before it.
        gone_on: How many of them went on by their rank.
    """
    better = sum(peer > own for peer in peers)
    return Standing(1 + better, 1 + len(peers), gone_on)


def goes_on(place: Standing, keep: float) -> bool:
    """Whether a candidate is trained.

    It is among the best ⌊keep · of⌋. Where good ones came early, so that fewer than half as many
    went on so far, it need only be among the best 2 · keep, and where fewer than a quarter did,
    nothing.

    Args:
        place: Where it stands.
        keep: Share that is to go on, in (0, 1].
    """
    quota = math.floor(keep * place.of + 1e-9)
    if place.rank <= quota or place.gone_on < quota // 4:
        return True
    return place.gone_on < quota // 2 and place.rank <= math.ceil(2 * keep * place.of)
