"""The probe inside the trial, for models that can only be built there."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from functools import cache

from ray import tune
from torch import nn

from recent_prune.probe import Training
from recent_prune.probe.batches.calling import Call
from recent_prune.probe.batches.inputs import Inputs
from recent_prune.probe.probing import Estimator, ready, warn_of_noise
from recent_prune.ray.probing import described
from recent_prune.rules import Rule, TrainabilityRule, Verdict, summary

# Below Ray's own, for its handler and level: others would not be shown.
logger = logging.getLogger(f"ray.{__name__}")

METRICS = "recent_prune"
"""Under this name the probe's numbers are in a trial's metrics, e.g. "recent_prune/retained"."""

CONDEMNED = f"{METRICS}/trainable"
"""False in the only result of a trial that condemned itself."""


def probe_and_report(
    model: nn.Module,
    inputs: Inputs,
    *,
    metric: str | Sequence[str],
    rule: Rule | None = None,
    estimator: Estimator = "ridge",
    layers: Sequence[str] | None = None,
    training: Training | None = None,
    call: Call | None = None,
    rtol: float = 0.005,
) -> Verdict:
    """Probe within a trial and, if it cannot train, report that to the scheduler, which stops it.

    The gate of :class:`ReconstructionEntropyScheduler` is better where it can be used: it costs
    no worker. This is for models that can only be built in one:

    .. code-block:: python

        def train(config):
            model = build_model(config)
            optimizer = torch.optim.Adam(model.parameters(), config["lr"])
            training = rp.Training(cross_entropy, optimizer, budget=steps)
            if not probe_and_report(model, loader, metric="accuracy", training=training).trainable:
                return
            ...


        scheduler = ReconstructionEntropyScheduler(wrapped=ASHAScheduler())

    A trial that can train reports nothing here, so its first iteration is its own. One that cannot
    reports the probe's numbers, with NaN as its metric (Tune refuses a result without it), and the
    scheduler stops it; under another scheduler it ends by the ``return``. Synchronous PBT is not
    to be used with this: it waits for the missing trial.

    A trial is never condemned because the probe failed: whatever model, loss or optimizer raise is
    logged as a warning, and the trial is kept. What can be seen before the model runs is raised.

    Args:
        model: The model at its initialization; it comes back untouched, and so does the optimizer.
        inputs: As in :func:`recent_prune.probe.probe`.
        metric: The metric of the run, or its metrics.
        rule: Default: :class:`TrainabilityRule`.
        estimator: As in :func:`recent_prune.probe.probe`.
        layers: As in :func:`recent_prune.probe.probe`.
        training: How the trial trains, as in :func:`recent_prune.probe.probe`; without it learning
            rate and optimizer are not looked at, which is logged once. Default: none.
        call: As in :func:`recent_prune.probe.probe`.
        rtol: As in :func:`recent_prune.probe.probe`.

    Returns:
        The verdict.

    Raises:
        TypeError: If an argument is of the wrong type, or ``rule`` is a class.
        ValueError: If an argument is out of its range, or ``inputs`` cannot be probed.
    """
    if rule is not None and (isinstance(rule, type) or not callable(rule)):
        raise TypeError(
            f"`rule` must be a function of the probe's result (no class, and no CertifiedRule, "
            f"which the scheduler takes), but got {rule!r}."
        )
    if training is None:
        say_what_is_not_seen("probe_and_report", "rp.Training(loss, optimizer, budget=steps)")
    run = ready(
        model,
        inputs,
        estimator=estimator,
        layers=layers,
        reconstruct=None,
        training=training,
        call=call,
        rtol=rtol,
        seed=0,
    )
    try:
        result = run()
    except Exception as error:
        fault = described(error)
        logger.warning("The probe failed, so the trial is kept unjudged: %s", fault)
        return Verdict(True, 0.0, f"It could not be judged: {fault}")
    warn_of_noise(result.redundancy)
    verdict = (rule or TrainabilityRule())(result)
    if not verdict.trainable:
        names = [metric] if isinstance(metric, str) else metric
        tune.report({**dict.fromkeys(names, math.nan), METRICS: summary(result, verdict)})
    return verdict


@cache
def say_what_is_not_seen(caller: str, training: str) -> None:
    """Once in a process, where a trial is judged without its training."""
    logger.info(
        "%s without `training` looks at the initialization alone, and not at learning rate and "
        "optimizer: give training=%s.",
        caller,
        training,
    )
