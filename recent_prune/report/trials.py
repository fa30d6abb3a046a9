"""A study or a Tune run as a table: what every figure and page is made from."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

import pandas as pd
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from recent_prune.optuna import attributes
from recent_prune.rules.summary import SUMMARY

if TYPE_CHECKING:  # an extra
    from ray.tune.experiment import Trial as TuneTrial

    from recent_prune.ray.experiments import TuneRun

PARAMETER = "param:"
"""Prefix of the columns that hold a trial's parameters."""


def trials_table(study: Study | TuneRun) -> pd.DataFrame:
    """One row a finished trial.

    Args:
        study: Of Optuna, or what ``Tuner.fit()`` or ``tune.run()`` returned. Of Tune's trials,
            ``value`` is the last one of the tuner's metric, and no profile is known; numbers are in
            the order of sampling.

    Returns:
        Columns ``number``, ``state``, ``value`` (NaN if pruned without a report), ``seconds``
        (wall clock of the whole trial), ``epochs`` (number of reports), then of the probe, NaN
        or None where a trial was not probed: ``trainable``, ``violation``, ``reason``, ``cause``,
        ``advice``, ``loss_before``, ``loss_after`` and ``constant_loss`` (None without first
        steps), ``retained``, ``relative_entropy`` (nats), ``cutoff``, ``depth``,
        ``probe_seconds``, ``profile``; ``fault``, why a trial could not be judged (the others are
        then empty); ``rank_score``, ``rank_error`` and ``stopped``, where candidates were ranked
        (rung zero); ``memory`` and ``memory_limit``, bytes of a training step and what there was,
        where a preflight was made, and ``out_of_memory``, whether the trial ran out of it all the
        same; and ``param:NAME`` for each parameter. Rows in the order of their
        numbers.

    Raises:
        TypeError: If ``study`` is something else.
    """
    if not isinstance(study, Study):
        return _tune_table(study)
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    return _table([_row(trial) for trial in finished])


def unfinished(study: Study | TuneRun, table: pd.DataFrame) -> dict[str, int]:
    """How many trials ``failed`` and how many are ``running``, as far as there are any.

    Args:
        study: Of Optuna, or of Tune, of which no running trials are known.
        table: Its :func:`trials_table`, with the failed trials of Tune.
    """
    failed, running = int((table["state"] == "FAIL").sum()), 0
    if isinstance(study, Study):
        known = study.get_trials(deepcopy=False, states=(TrialState.FAIL, TrialState.RUNNING))
        running = sum(trial.state == TrialState.RUNNING for trial in known)
        # Of a certified rule a trial may only hold what was fitted.
        carriers = sum(map(attributes.carries_fit, known))
        failed = len(known) - running - carriers
    return {name: n for name, n in (("failed", failed), ("running", running)) if n}


OF_PROBE = SUMMARY[:-1]
"""What is called so in a trial's attributes, in Tune's metrics and here."""

COLUMNS = [
    "number",
    "state",
    "value",
    "seconds",
    "epochs",
    *OF_PROBE,
    "probe_seconds",
    "profile",
    "fault",
    "rank_score",
    "rank_error",
    "stopped",
    "memory",
    "memory_limit",
    "out_of_memory",
]


def losses(before: object, after: object, constant: object) -> str | None:
    """What the first steps did to the loss, e.g. "1 → 19.6 times that of a constant prediction".

    Args:
        before: Loss before the steps; None or NaN where unknown or not finite.
        after: Likewise after them.
        constant: Likewise of the best constant prediction.

    Returns:
        None if there were no steps. Plain losses where that of a constant prediction is unknown,
        or not positive.
    """
    known = [_number(value) for value in (before, after, constant)]
    if all(map(math.isnan, known)):
        return None
    unit = known[2] if known[2] > 0 else 1.0
    told = " → ".join("not finite" if math.isnan(x) else f"{x / unit:.3g}" for x in known[:2])
    return told + (" times that of a constant prediction" if known[2] > 0 else "")


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan


def _row(trial: FrozenTrial) -> dict[str, object]:
    told = trial.user_attrs if attributes.is_probed(trial) else {}
    fault = told.get(attributes.FAULT)
    # Attributes that version 0.1 did not know are missing.
    probed = told if fault is None else {}
    fit, ran_out = (_own(trial, key) for key in (attributes.PREFLIGHT, attributes.OUT_OF_MEMORY))
    return {
        "number": trial.number,
        "state": trial.state.name,
        "value": trial.values[0] if trial.values else math.nan,
        "seconds": trial.duration.total_seconds() if trial.duration else math.nan,
        "epochs": len(trial.intermediate_values),
        **{name: probed.get(f"recent_prune:{name}") for name in OF_PROBE},
        "probe_seconds": told.get(attributes.SECONDS),
        "profile": probed.get(attributes.PROFILE),
        "fault": fault,
        "rank_score": probed.get(attributes.RANK_SCORE),
        "rank_error": probed.get(attributes.RANK_ERROR),
        "stopped": probed.get(attributes.STOPPED),
        "memory": fit.get("memory"),
        "memory_limit": fit.get("capacity"),
        "out_of_memory": bool(ran_out),
        **{PARAMETER + name: value for name, value in trial.params.items()},
    }


def _own(trial: FrozenTrial, key: str) -> dict[str, Any]:
    """An attribute that says of which trial it is; empty if of one that this trial retries."""
    told: dict[str, Any] = trial.user_attrs.get(key) or {}
    return told if told.get("trial") == trial.number else {}


def _table(rows: list[dict[str, object]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=None if rows else COLUMNS)


def _tune_table(run: TuneRun) -> pd.DataFrame:
    tune = sys.modules.get("ray.tune")  # whoever has a run of it has loaded it
    if tune is None or not isinstance(run, (tune.ResultGrid, tune.ExperimentAnalysis)):
        raise TypeError(
            "`study` must be a Study of Optuna, what Tuner.fit() returned (a ResultGrid) or an "
            f"ExperimentAnalysis, but got {run!r}."
        )
    from recent_prune.ray import probed_trials
    from recent_prune.ray.experiments import grid_of
    from recent_prune.ray.tune_controller import metric_of, trials_of

    results = grid_of(run)
    probes = probed_trials(results).set_index("trial_id")
    metric = metric_of(results)
    return _table(
        [
            _tune_row(number, trial, probes, metric)
            for number, trial in enumerate(trials_of(results))
            if trial.status in ("TERMINATED", "ERROR")
        ]
    )


def _tune_row(
    number: int, trial: TuneTrial, probes: pd.DataFrame, metric: str | None
) -> dict[str, object]:
    from ray.tune.utils import flatten_dict

    from recent_prune.ray.in_trial import METRICS
    from recent_prune.ray.tune_controller import ran_out_of_memory

    last: dict[str, Any] = flatten_dict(trial.last_result or {})
    # Of the gate, or of a trial that judged itself (`probe_and_report`).
    names = (*OF_PROBE, "seconds", "fault")
    own = {name: last[f"{METRICS}/{name}"] for name in names if f"{METRICS}/{name}" in last}
    probed = probes.loc[trial.trial_id].to_dict() if trial.trial_id in probes.index else own
    fault = probed.get("fault") if isinstance(probed.get("fault"), str) else None
    gated = probed["seconds"] if probed and probed is not own else 0.0
    stopped = None if fault else probed.get("stopped")
    unstarted = probed.get("trainable") is False or stopped is True
    state = "PRUNED" if unstarted else "COMPLETE"
    return {
        "number": number,
        "state": "FAIL" if trial.status == "ERROR" else state,
        "value": math.nan if metric is None else last.get(metric, math.nan),
        # Tune's clock starts after the gate's probe.
        "seconds": last.get("time_total_s", 0.0) + (0.0 if pd.isna(gated) else gated),
        "epochs": 0 if unstarted else last.get("training_iteration", 0),
        **{name: None if fault else probed.get(name) for name in OF_PROBE},
        "probe_seconds": probed.get("seconds"),
        "profile": None,
        "fault": fault,
        "rank_score": None if fault else probed.get("rank_score"),
        "rank_error": None if fault else probed.get("rank_error"),
        "stopped": stopped,
        "memory": probed.get("memory"),
        "memory_limit": probed.get("memory_limit"),
        "out_of_memory": ran_out_of_memory(trial),
        **{PARAMETER + name: value for name, value in flatten_dict(trial.config).items()},
    }
