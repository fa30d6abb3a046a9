"""A study or a Tune run as a table: what every figure and page is made from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from recent_prune.optuna import attributes

if TYPE_CHECKING:  # an extra
    from ray.tune import ResultGrid

PARAMETER = "param:"
"""Prefix of the columns that hold a trial's parameters."""


def trials_table(study: Study | ResultGrid) -> pd.DataFrame:
    """One row a finished trial.

    Args:
        study: Of Optuna, or what ``Tuner.fit()`` returned. Of Tune's trials, ``value`` is the last
            one of the tuner's metric, and no profile is known; numbers are in the order of
            sampling.

    Returns:
        Columns ``number``, ``state``, ``value`` (NaN if pruned without a report), ``seconds``
        (wall clock of the whole trial), ``epochs`` (number of reports), then of the probe, NaN
        or None where a trial was not probed: ``trainable``, ``reason``, ``retained``,
        ``relative_entropy`` (nats), ``cutoff``, ``depth``, ``probe_seconds``, ``profile``; and
        ``param:NAME`` for each parameter. Rows in the order of their numbers.
    """
    if not isinstance(study, Study):
        return _tune_table(study)
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    return _table([_row(trial) for trial in finished])


COLUMNS = [
    "number",
    "state",
    "value",
    "seconds",
    "epochs",
    "trainable",
    "reason",
    "retained",
    "relative_entropy",
    "cutoff",
    "depth",
    "probe_seconds",
    "profile",
]


def _row(trial: FrozenTrial) -> dict[str, object]:
    probed = trial.user_attrs if attributes.is_probed(trial) else {}
    return {
        "number": trial.number,
        "state": trial.state.name,
        "value": trial.values[0] if trial.values else math.nan,
        "seconds": trial.duration.total_seconds() if trial.duration else math.nan,
        "epochs": len(trial.intermediate_values),
        "trainable": probed.get(attributes.TRAINABLE),
        "reason": probed.get(attributes.REASON),
        "retained": probed.get(attributes.RETAINED),
        "relative_entropy": probed.get(attributes.RELATIVE_ENTROPY),
        "cutoff": probed.get(attributes.CUTOFF),
        "depth": probed.get(attributes.DEPTH),
        "probe_seconds": probed.get(attributes.SECONDS),
        "profile": probed.get(attributes.PROFILE),
        **{PARAMETER + name: value for name, value in trial.params.items()},
    }


def _table(rows: list[dict[str, object]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=None if rows else COLUMNS)


def _tune_table(results: ResultGrid) -> pd.DataFrame:
    from ray.tune.utils import flatten_dict

    from recent_prune.ray import probed_trials
    from recent_prune.ray.in_trial import METRICS
    from recent_prune.ray.tune_controller import metric_of, trials_of

    probes = probed_trials(results).set_index("trial_id")
    metric = metric_of(results)
    names = (*COLUMNS[5:11], "seconds")
    rows = []
    for number, trial in enumerate(trials_of(results)):
        if trial.status not in ("TERMINATED", "ERROR"):
            continue
        last: dict[str, Any] = flatten_dict(trial.last_result or {})
        # Of the gate, or of a trial that judged itself (`probe_and_report`).
        own = {name: last[f"{METRICS}/{name}"] for name in names if f"{METRICS}/{name}" in last}
        probed = probes.loc[trial.trial_id].to_dict() if trial.trial_id in probes.index else own
        gated = probed["seconds"] if probed and probed is not own else 0.0
        condemned = probed.get("trainable") is False
        state = "PRUNED" if condemned else "COMPLETE"
        rows.append(
            {
                "number": number,
                "state": "FAIL" if trial.status == "ERROR" else state,
                "value": math.nan if metric is None else last.get(metric, math.nan),
                # Tune's clock starts after the gate's probe.
                "seconds": last.get("time_total_s", 0.0) + (0.0 if pd.isna(gated) else gated),
                "epochs": 0 if condemned else last.get("training_iteration", 0),
                **{name: probed.get(name) for name in COLUMNS[5:11]},
                "probe_seconds": probed.get("seconds"),
                "profile": None,
                **{PARAMETER + name: v for name, v in flatten_dict(trial.config).items()},
            }
        )
    return _table(rows)
