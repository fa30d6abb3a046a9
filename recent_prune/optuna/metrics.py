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

LogTexts = Callable[[dict[str, str], int], Any]
"""Takes texts by name and a step."""


def probe_metrics(trial: BaseTrial | FrozenTrial) -> dict[str, float]:
    """What the probe of a trial found, as numbers under the names that Tune's results have.

    Args:
        trial: That ``probe_trial`` was called for, running or ended.

    Returns:
        ``recent_prune/trainable`` (0 or 1), ``…/violation``, ``…/retained``,
        ``…/relative_entropy`` (nats), ``…/cutoff`` and ``…/depth`` (layers), ``…/seconds``, and of
        first steps ``…/loss_before``, ``…/loss_after`` and ``…/constant_loss``; what is not known,
        or not finite, is missing. Empty if the trial was not probed.
    """
    return as_metrics({name: trial.user_attrs.get(f"recent_prune:{name}") for name in SUMMARY})


def probe_texts(trial: BaseTrial | FrozenTrial) -> dict[str, str]:
    """The same for what is no number.

    Returns:
        ``recent_prune/reason``, ``…/cause``, ``…/advice`` and, where the trial could not be
        judged, ``…/fault``; what there is not is missing.
    """
    known = {
        name: trial.user_attrs.get(f"recent_prune:{name}")
        for name in ("cause", "reason", "advice", "fault")
    }
    return {f"recent_prune/{name}": str(text) for name, text in known.items() if text is not None}


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

    ``wandb.log`` fits as well; for TensorBoard give a function that calls ``add_scalar``. Cause,
    reason and advice are texts, and go where texts are taken: ``wandb.log`` takes them as they are,
    MLflow as tags (``log_texts=lambda texts, _: mlflow.set_tags(texts)``), TensorBoard by
    ``add_text``.

    Args:
        log: Called with :func:`probe_metrics` of a trial that was probed, and its number.
        log_texts: Called with ``recent_prune/cause``, ``…/reason``, ``…/advice`` and ``…/fault``,
            as far as there are, and the trial's number. Default: no texts.

    Raises:
        TypeError: If one of them is no function.
    """

    def __init__(self, log: Log, log_texts: LogTexts | None = None) -> None:
        if not callable(log):
            raise TypeError(f"`log` must be a function of metrics and a step, but got {log!r}.")
        if log_texts is not None and not callable(log_texts):
            raise TypeError(
                f"`log_texts` must be a function of texts and a step, but got {log_texts!r}."
            )
        self._log = log
        self._log_texts = log_texts

    def __call__(self, study: Study, trial: FrozenTrial) -> None:  # noqa: ARG002
        """As Optuna calls it when a trial has ended."""
        if not attributes.is_probed(trial):
            return
        self._log(probe_metrics(trial), trial.number)
        if self._log_texts is not None:
            self._log_texts(probe_texts(trial), trial.number)
