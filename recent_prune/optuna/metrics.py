"""The probe's numbers for loggers of experiments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from optuna.study import Study
from optuna.trial import BaseTrial, FrozenTrial

from recent_prune.optuna import attributes
from recent_prune.rules import SUMMARY

Log = Callable[[dict[str, float], int], Any]
"""Takes metrics and a step, as ``mlflow.log_metrics`` and ``wandb.log`` do."""


def probe_metrics(trial: BaseTrial | FrozenTrial) -> dict[str, float]:
    """What the probe of a trial found, as numbers under the names that Tune's results have.

    Args:
        trial: That ``probe_trial`` was called for, running or ended.

    Returns:
        ``recent_prune/trainable`` (0 or 1), ``…/violation``, ``…/retained``,
        ``…/relative_entropy`` (nats; missing if not finite), ``…/cutoff`` and ``…/depth`` (layers),
        ``…/seconds``. Empty if the trial was not probed.
    """
    return as_metrics({name: trial.user_attrs.get(f"recent_prune:{name}") for name in SUMMARY})


def as_metrics(known: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a summary."""
    return {
        f"recent_prune/{name}": float(value)
        for name, value in known.items()
        if isinstance(value, (bool, int, float))
    }


class MetricsCallback:
    """Tell a logger what the probe of each trial found.

    .. code-block:: python

        study.optimize(objective, callbacks=[MetricsCallback(mlflow.log_metrics)])

    ``wandb.log`` fits as well; for TensorBoard give a function that calls ``add_scalar``.

    Args:
        log: Called with :func:`probe_metrics` of a trial that was probed, and its number.

    Raises:
        TypeError: If ``log`` is no function.
    """

    def __init__(self, log: Log) -> None:
        if not callable(log):
            raise TypeError(f"`log` must be a function of metrics and a step, but got {log!r}.")
        self._log = log

    def __call__(self, study: Study, trial: FrozenTrial) -> None:  # noqa: ARG002
        """As Optuna calls it when a trial has ended."""
        if attributes.is_probed(trial):
            self._log(probe_metrics(trial), trial.number)
