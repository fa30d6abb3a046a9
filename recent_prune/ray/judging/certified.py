"""A certified rule in a Tune run: the actor probes, the driver, which sees the results, judges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from recent_prune.ray.judging.ending import Ending
from recent_prune.ray.judging.outcome import Outcome
from recent_prune.ray.judging.situation import Situation
from recent_prune.rules.certified import CertifiedRule, PastTrial

WATCHES = "nothing is fitted; recent_prune.ray.calibrated makes a rule that prunes of this run."


def past_trials(
    outcomes: Mapping[str, Outcome], endings: Mapping[str, Ending]
) -> dict[str, PastTrial]:
    """The trials that a certified rule judged, by their ids, in order.

    Args:
        outcomes: Recorded in the experiment's folder, by trial, in the order of their verdicts.
        endings: Of the trials of this run. Others do not count: those of an earlier run with its
            name, and those that Tune forgot when the driver was killed.
    """
    judged: dict[str, PastTrial] = {}
    for trial_id, outcome in outcomes.items():
        if outcome.features and trial_id in endings:
            judged[trial_id] = _past_trial(outcome, endings[trial_id], len(judged))
    return judged


def _past_trial(outcome: Outcome, ending: Ending, number: int) -> PastTrial:
    return PastTrial(
        number=number,
        features=outcome.features,
        parameters=outcome.parameters,
        share=outcome.share,
        ran=outcome.passes,
        score=outcome.score,
        ended=ending.ended,
        value=ending.value,
    )


@dataclass(frozen=True)
class Judge:
    """Judges what was probed by what the run has seen.

    Attributes:
        rule: With the run's direction.
        metric: That makes a trial good.
    """

    rule: CertifiedRule
    metric: str

    def past(
        self, outcomes: Mapping[str, Outcome], endings: Mapping[str, Ending]
    ) -> list[PastTrial]:
        """What the run has seen; see :func:`past_trials`."""
        return list(past_trials(outcomes, endings).values())

    def __call__(self, outcome: Outcome, past: list[PastTrial]) -> Outcome:
        """The outcome with a verdict, and for a condemned trial with its draw.

        Args:
            outcome: Of a trial that was probed, or could not be.
            past: All trials judged before, in order; this one is appended.
        """
        if not outcome.features:
            return outcome
        known = outcome.features, outcome.parameters
        # Tune may use an id again for another configuration, but a draw is used once.
        key = f"{outcome.trial_id}:{sorted(outcome.parameters.items())}"
        told = self.rule.judge(key, *known, past, self.rule.fitted or WATCHES)
        summary = {**outcome.summary, **asdict(told.verdict)}
        judged = replace(outcome, summary=summary, share=told.share, score=told.score)
        past.append(_past_trial(judged, Ending(), len(past)))
        return judged

    def condemns(self, outcome: Outcome, past: Sequence[PastTrial]) -> bool:
        """Whether a draw will decide."""
        if self.rule.fitted is None or not outcome.features:
            return False
        return self.score(outcome) < self.rule.threshold(self.rule.fitted, past)

    def score(self, outcome: Outcome) -> float:
        """The learned score of what was probed."""
        assert self.rule.fitted is not None
        return self.rule.fitted.score(outcome.features, outcome.parameters)


class Draws:
    """Decides by a certified rule.

    Condemned trials are drawn last, one whenever no other waits to be started: the more good trials
    have ended by then, the fewer of the condemned must run.

    Args:
        judge: Of the run.
    """

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._deferred: list[Outcome] = []  # condemned, not drawn yet

    @property
    def waiting(self) -> set[str]:
        """Trials that are condemned, and not drawn yet."""
        return {outcome.trial_id for outcome in self._deferred}

    def decide(self, outcomes: Sequence[Outcome], now: Situation) -> list[Outcome]:
        """See :class:`Decisions`."""
        if not outcomes and not (self._deferred and now.wanted):
            return []
        past = self._judge.past(now.outcomes, now.endings(self._judge.metric))
        decided = []
        for outcome in outcomes:
            if not now.together and self._judge.condemns(outcome, past):
                self._deferred.append(outcome)
            else:
                decided.append(self._judge(outcome, past))
        self._deferred.sort(key=self._judge.score)  # the most promising one is drawn first
        while now.wanted and self._deferred and not any(outcome.passes for outcome in decided):
            decided.append(self._judge(self._deferred.pop(), past))
        return decided

    def recall(self, outcomes: Mapping[str, Outcome]) -> None:
        """Nothing to do: each decision looks at all of the past."""

    def forget(self, trial_id: str) -> None:
        """A trial is gone."""
        self._deferred = [o for o in self._deferred if o.trial_id != trial_id]

    def study(self) -> dict[str, Any]:
        """What an audit needs, as JSON takes it."""
        rule = self._judge.rule
        bound = None if rule.fitted is None else rule.fitted.good_bound
        return {"metric": self._judge.metric, "rule": rule.settings(), "good_bound": bound}
