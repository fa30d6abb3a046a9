"""Rung zero in a Tune run: candidates are held, and the best share of them is started.

Other than in a study of Optuna, where a candidate must be judged when it comes, the gate can hold
one until a worker is free: then the best of those that wait is started, as long as the started ones
stay within the share.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from recent_prune.ray.judging.ending import Ending
from recent_prune.ray.judging.outcome import Outcome
from recent_prune.ray.judging.situation import Situation
from recent_prune.rules.rung_zero import (
    Comparison,
    Key,
    Place,
    Training,
    Worth,
    chance,
    drawn,
    stored,
    turned_down,
)
from recent_prune.rules.rung_zero.standing import ROUNDING


class RungZero:
    """Candidates that wait for a worker, the best first.

    Args:
        keep: Share of the candidates that is started where the ranking holds, in (0, 1).
        explore: Share of those that start that is drawn from the others, at random.
        metric: By which it is judged whether the ranking holds; None where that is not known, so
            that nobody doubts it.
        mode: ``"max"`` or ``"min"``.
    """

    def __init__(self, keep: float, explore: float, metric: str | None, mode: str | None) -> None:
        self._keep = keep
        self._explore = explore
        self._metric = metric
        self._mode = mode
        self._held: dict[str, Outcome] = {}
        self._keys: dict[str, Key] = {}  # of all candidates so far
        self._share = keep  # that holds now
        self._due = 0.0  # sum of those that held when each was decided on
        self._ended = 0  # trials that had ended when it was last looked at
        self._gone_on = 0
        self._barred = 0  # candidates that were condemned
        self._compared = Comparison()
        self._counted: set[str] = set()  # trials in it

    @property
    def waiting(self) -> set[str]:
        """Candidates that are not decided on."""
        return set(self._held)

    def decide(self, outcomes: Sequence[Outcome], now: Situation) -> list[Outcome]:
        """See :class:`Decisions`. What could not be probed is none of rung zero's."""
        if now.ended != self._ended:
            self._ended, self._share = now.ended, turned_down(self._keep, self._worth(now))
        decided = [outcome for outcome in outcomes if outcome.fault is not None]
        decided += self._entered([outcome for outcome in outcomes if outcome.fault is None])
        return [*decided, *self._started_and_stopped(now)]

    def recall(self, outcomes: Mapping[str, Outcome]) -> None:
        """Count what an earlier run decided."""
        for trial_id, outcome in outcomes.items():
            if outcome.rung is not None:
                self._keys[trial_id] = self._key(outcome)
                self._due += outcome.rung["keep"]
                self._gone_on += outcome.rung["best"]
                self._barred += outcome.condemned

    def forget(self, trial_id: str) -> None:
        """A trial is gone; as a candidate it has been seen."""
        self._held.pop(trial_id, None)

    def study(self) -> dict[str, Any]:
        """What an audit needs, as JSON takes it."""
        return {"metric": self._metric, "mode": self._mode, "keep": self._keep}

    def _worth(self, now: Situation) -> Worth:
        """What the ranking is worth by the trials that have ended, each looked at once."""
        if self._metric is None:
            return self._compared.worth()
        endings = now.endings(self._metric)
        for trial_id in now.outcomes.keys() - self._counted:
            outcome = now.outcomes[trial_id]
            order = endings.get(trial_id, Ending()).order(maximize=self._mode == "max")
            if order is not None and outcome.rung is not None and outcome.passes:
                score = self._key(outcome)[0]
                self._compared.add(Training(score, order, first=outcome.rung["best"]))
                self._counted.add(trial_id)
        return self._compared.worth()

    def _entered(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Take candidates in; those that are condemned are decided on already."""
        for outcome in outcomes:
            self._keys[outcome.trial_id] = self._key(outcome)
            self._barred += outcome.condemned
            if not outcome.condemned:
                self._held[outcome.trial_id] = outcome
        return [self._placed(outcome) for outcome in outcomes if outcome.condemned]

    def _started_and_stopped(self, now: Situation) -> list[Outcome]:
        """Who starts now, and who never will.

        As many start as the share allows, and at least one of a run: one that starts nothing finds
        nothing. Where none may start before others have come, and none can come while so many are
        held, as many of the lowest are stopped as have to come.
        """
        waiting = sorted(self._held.values(), key=lambda o: self._keys[o.trial_id], reverse=True)
        if now.together and not now.settled:
            return []
        due = self._due + self._share * len(waiting) + ROUNDING - self._gone_on
        allowed = math.floor(due)
        if now.last and not self._gone_on:
            allowed = max(allowed, 1)
        allowed = max(allowed, int(now.overdue))
        count = allowed if now.together else min(allowed, int(now.wanted))
        started = [self._start(outcome) for outcome in waiting[: max(count, 0)]]
        left = waiting[len(started) :]
        stopped: Sequence[Outcome] = []
        if now.last:
            stopped = left[max(allowed - len(started), 0) :]
        elif left and now.settled and allowed <= 0:
            missing = math.ceil((1 - due) / self._share)
            stopped = left[1:][-missing:] or (left if self._is_low(left[0]) else [])
        return [*started, *(self._stop(outcome) for outcome in stopped)]

    def _is_low(self, outcome: Outcome) -> bool:
        """Whether it is not among the best share of all so far."""
        return self._rank(outcome) > max(1.0, self._share * len(self._keys))

    def _start(self, outcome: Outcome) -> Outcome:
        del self._held[outcome.trial_id]
        self._gone_on += 1
        return self._placed(outcome, best=True, share=1.0)

    def _stop(self, outcome: Outcome) -> Outcome:
        """Those that are stopped are drawn from: some are started all the same."""
        del self._held[outcome.trial_id]
        at_random = chance(self._explore, self._share, self._barred / len(self._keys))
        explored = drawn(outcome.trial_id, "explore") < at_random
        return self._placed(outcome, explored=explored, share=at_random)

    def _placed(
        self, outcome: Outcome, *, best: bool = False, explored: bool = False, share: float = 0.0
    ) -> Outcome:
        self._due += self._share
        place = Place(
            rank=self._rank(outcome),
            of=len(self._keys),
            keep=stored(self._share),
            best=best,
            explored=explored,
            share=share,
        )
        return replace(outcome, rung=place)

    def _rank(self, outcome: Outcome) -> int:
        own = self._keys[outcome.trial_id]
        return 1 + sum(key > own for key in self._keys.values())

    def _key(self, outcome: Outcome) -> Key:
        score = -math.inf if outcome.score is None else outcome.score
        return score, drawn(outcome.trial_id, "ties")
