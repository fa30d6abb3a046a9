"""What a Tune run came to, read from what the gate kept beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ray.tune import ResultGrid

from recent_prune.audit import (
    Audit,
    Costs,
    RankedTrial,
    RankingAudit,
    audited,
    audited_ranking,
    rule_of,
)
from recent_prune.ray import tune_controller
from recent_prune.ray.experiments import Experiment, grid_of
from recent_prune.ray.judging.certified import past_trials
from recent_prune.ray.judging.ending import Ending
from recent_prune.ray.judging.outcome import Outcome
from recent_prune.ray.ledger import recorded_study
from recent_prune.rules.certified import CertifiedRule, PastTrial
from recent_prune.rules.rung_zero import Place


@dataclass(frozen=True)
class _Recorded:
    """A run as it was recorded."""

    rule: CertifiedRule
    metric: str
    good_bound: float | None
    past: dict[str, PastTrial]
    endings: dict[str, Ending]
    probe_seconds: list[float]


def audit(experiment: Experiment) -> Audit | RankingAudit:
    """Audit a Tune run that rung zero or a :class:`CertifiedRule` has pruned.

    Args:
        experiment: What ``Tuner.fit()`` or ``tune.run()`` returned, or the run's folder, under a
            scheduler with ``keep`` below 1 or with a :class:`CertifiedRule`.

    Returns:
        As :func:`recent_prune.optuna.audit`. Trials are numbered in the order of their verdicts; a
        trial's seconds are those of its trainable (``time_total_s``), without its worker's start.

    Raises:
        TypeError: If ``experiment`` is something else.
        ValueError: If there is neither, or no run in the folder.
    """
    run = grid_of(experiment)
    study, outcomes = recorded_study(run)
    if "rule" in study:
        return _certified(run)
    ended = _endings(run, study["metric"])
    ranked = [
        (place, outcome, ended[trial_id])
        for trial_id, outcome in outcomes.items()
        if (place := outcome.rung) is not None and trial_id in ended
    ]
    if not ranked:
        raise ValueError(f"No trials were ranked in {run.experiment_path}.")
    maximize = study["mode"] == "max"
    trials = [_ranked(number, *known, maximize) for number, known in enumerate(ranked)]
    return audited_ranking(trials, maximize=maximize)


def _ranked(
    number: int, place: Place, outcome: Outcome, ending: Ending, maximize: bool
) -> RankedTrial:
    return RankedTrial(
        number=number,
        condemned=outcome.condemned,
        best=place["best"],
        explored=place["explored"],
        keep=place["keep"],
        score=-math.inf if outcome.score is None else outcome.score,
        order=ending.order(maximize) if outcome.passes else None,
        value=ending.value if outcome.passes else None,
        seconds=ending.seconds if outcome.passes else 0.0,
        probe_seconds=float(outcome.summary.get("seconds") or 0.0),
    )


def _certified(experiment: ResultGrid) -> Audit:
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


def _endings(experiment: ResultGrid, metric: str | None) -> dict[str, Ending]:
    trials = tune_controller.trials_of(experiment)
    return {trial.trial_id: Ending.of(trial, metric or "") for trial in trials}


def calibrated(rule: CertifiedRule, *experiments: Experiment) -> CertifiedRule:
    """The rule, calibrated by earlier Tune runs.

    Args:
        rule: Its criterion of a good trial counts.
        experiments: What ``Tuner.fit()`` or ``tune.run()`` returned under a :class:`CertifiedRule`,
            or such runs' folders: of the same kind as the new one, with its metric and mode. Those
            trials take part that would have run in any case: all of a run whose rule was not
            fitted, since such a rule only watches.

    Raises:
        TypeError: If one is something else.
        ValueError: If there are too few good trials, metrics or directions differ, or a run was
            not judged by such a rule.
    """
    read = [_read(grid_of(experiment, "experiments")) for experiment in experiments]
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
    if "rule" not in study:
        raise ValueError(f"No CertifiedRule judged the trials in {experiment.experiment_path}.")
    endings = _endings(experiment, study["metric"])
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
