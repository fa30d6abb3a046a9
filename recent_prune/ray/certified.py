"""A certified rule in a Tune run: the actor probes, the driver, which sees the results, judges."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from ray.tune import ResultGrid
from ray.tune.experiment import Trial
from ray.tune.utils import flatten_dict

from recent_prune.audit import Audit, Costs, audited, rule_of
from recent_prune.ray import tune_controller
from recent_prune.ray.ledger import recorded_study
from recent_prune.ray.probing import Outcome
from recent_prune.rules.certified import CertifiedRule, PastTrial

WATCHES = "nothing is fitted; recent_prune.ray.calibrated makes a rule that prunes of this run."


@dataclass(frozen=True)
class Ending:
    """What a trial came to.

    Attributes:
        ended: Whether it is over.
        value: Of the metric in its last result; None if it has none yet, or failed.
        seconds: That it took.
    """

    ended: bool = False
    value: float | None = None
    seconds: float = 0.0

    @classmethod
    def of(cls, trial: Trial, metric: str) -> Self:
        """What a trial has come to by now.

        One that was stopped, by a scheduler or with the whole run, counts with its last value.
        """
        result = flatten_dict(trial.last_result or {})
        ended = tune_controller.is_over(trial)
        failed = trial.status == Trial.ERROR
        return cls(
            ended,
            _number(result.get(metric)) if ended and not failed else None,
            _number(result.get("time_total_s")) or 0.0,
        )


def _number(value: Any) -> float | None:
    """Of what a result may hold: also NumPy's numbers and tensors with one element."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return None if math.isnan(number) or isinstance(value, str) else number


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

    def to_dict(self) -> dict[str, Any]:
        """What an audit needs, as JSON takes it."""
        fitted = self.rule.fitted
        return {
            "metric": self.metric,
            "rule": self.rule.settings(),
            "good_bound": None if fitted is None else fitted.good_bound,
        }


@dataclass(frozen=True)
class _Recorded:
    """A run as it was recorded."""

    rule: CertifiedRule
    metric: str
    good_bound: float | None
    past: dict[str, PastTrial]
    endings: dict[str, Ending]
    probe_seconds: list[float]


def audit(experiment: ResultGrid) -> Audit:
    """Audit a Tune run that a :class:`CertifiedRule` has pruned.

    Args:
        experiment: What ``Tuner.fit()`` returned.

    Returns:
        As :func:`recent_prune.optuna.audit`. Trials are numbered in the order of their verdicts; a
        trial's seconds are those of its trainable (``time_total_s``), without its worker's start.

    Raises:
        ValueError: If no trial was judged by such a rule.
    """
    found = _read(experiment)
    past = list(found.past.values())
    if not past:
        raise ValueError(f"No CertifiedRule judged the trials in {experiment.experiment_path}.")
    bound = found.rule.good_bound(past) if found.good_bound is None else found.good_bound
    runs = {
        trial.number: found.endings[trial_id].seconds
        for trial_id, trial in found.past.items()
        if trial.ran and trial.ended
    }
    return audited(found.rule, past, bound, Costs(len(experiment), found.probe_seconds, runs))


def calibrated(rule: CertifiedRule, *experiments: ResultGrid) -> CertifiedRule:
    """The rule, calibrated by earlier Tune runs.

    Args:
        rule: Its criterion of a good trial counts.
        experiments: What ``Tuner.fit()`` returned under a :class:`CertifiedRule`: runs of the same
            kind as the new one, with its metric and mode. Those trials take part that would have
            run in any case: all of a run whose rule was not fitted, since such a rule only watches.

    Raises:
        ValueError: If there are too few good trials, metrics or directions differ, or a run was
            not judged by such a rule.
    """
    read = [_read(experiment) for experiment in experiments]
    meant = sorted({(found.metric, found.rule.direction) for found in read})
    if len(meant) != 1:
        raise ValueError(
            f"`experiments` must be at least one, all of one metric and one mode, but got {meant}."
        )
    rule = replace(rule, direction=meant[0][1])
    fitted = rule.fit([trial for found in read for trial in found.past.values()])
    if isinstance(fitted, str):
        raise ValueError(f"`experiments` cannot calibrate the rule: {fitted}")
    return replace(rule, fitted=fitted)


def _read(experiment: ResultGrid) -> _Recorded:
    study, outcomes = recorded_study(experiment)
    trials = tune_controller.trials_of(experiment)
    endings = {trial.trial_id: Ending.of(trial, study["metric"]) for trial in trials}
    return _Recorded(
        rule=rule_of(study["rule"]),
        metric=study["metric"],
        good_bound=study["good_bound"],
        past=past_trials(outcomes, endings),
        endings=endings,
        probe_seconds=[
            float(outcomes[trial_id].summary["seconds"] or 0.0)
            for trial_id in endings
            if trial_id in outcomes and outcomes[trial_id].summary
        ],
    )
