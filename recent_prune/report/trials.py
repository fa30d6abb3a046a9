"""A study as a table: what every figure and page is made from."""

from __future__ import annotations

import math

import pandas as pd
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from recent_prune.optuna import attributes

PARAMETER = "param:"
"""Prefix of the columns that hold a trial's parameters."""


def trials_table(study: Study) -> pd.DataFrame:
    """One row a finished trial.

    Returns:
        Columns ``number``, ``state``, ``value`` (NaN if pruned without a report), ``seconds``
        (wall clock of the whole trial), ``epochs`` (number of reports), then of the probe, NaN
        or None where a trial was not probed: ``trainable``, ``reason``, ``retained``,
        ``relative_entropy`` (nats), ``cutoff``, ``depth``, ``probe_seconds``, ``profile``; and
        ``param:NAME`` for each parameter. Rows in the order of their numbers.
    """
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    return pd.DataFrame([_row(trial) for trial in finished], columns=None if finished else COLUMNS)


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
