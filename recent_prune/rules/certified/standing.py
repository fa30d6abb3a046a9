"""Where a study stands under a certified rule, in a time that does not grow with its trials."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Hashable, Sequence
from copy import copy
from dataclasses import dataclass

from recent_prune.rules.certified.certificate import Record, Tally
from recent_prune.rules.certified.fitted import PastTrial


@dataclass
class Standing:
    """Trials that were counted, in order.

    Attributes:
        tally: Of their records.
        lowest: The lowest score of a condemned trial that ran and turned out good; ∞ if none did.
        count: How many there are.
    """

    tally: Tally
    lowest: float = math.inf
    count: int = 0

    def add(self, trial: PastTrial, *, good: bool) -> None:
        """Count one more."""
        self.tally.add(Record(trial.share, trial.ran, good if trial.ended else None))
        if good and trial.share is not None and trial.score is not None:
            self.lowest = min(self.lowest, trial.score)
        self.count += 1


class Settled:
    """The first trials of a study: of these none will change, nor will one come between them.

    Attributes:
        count: How many they are.
    """

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()
        self._known: dict[Hashable, Standing] = {}

    def standing(
        self,
        past: Sequence[PastTrial],
        is_good: Callable[[PastTrial], bool],
        asked: Hashable,
        empty: Callable[[], Tally],
    ) -> Standing:
        """Of all trials; those that are settled are counted once.

        Args:
            past: All, in order; the first ``count`` of them are settled.
            is_good: Whether a trial is good.
            asked: What else the answer depends on: the rule, and what it calls good.
            empty: A tally of none.
        """
        with self._lock:
            known = self._known.setdefault(asked, Standing(empty()))
            for trial in past[known.count : self.count]:
                known.add(trial, good=is_good(trial))
            now = Standing(copy(known.tally), known.lowest, known.count)
        for trial in past[now.count :]:
            now.add(trial, good=is_good(trial))
        return now
