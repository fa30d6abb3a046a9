"""Does a trial fit its worker: judged in the probe actor, before it is probed."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from torch import nn

from recent_prune.preflight import Limits, PreflightResult, preflight
from recent_prune.probe import ProbeResult, Training
from recent_prune.probe.batches.inputs import Inputs
from recent_prune.rules import PreflightRule, Verdict

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fit:
    """What is known of a trial's memory before it is probed.

    Attributes:
        verdict: On memory.
        rule: That judged.
        result: As it was estimated.
    """

    verdict: Verdict
    rule: PreflightRule
    result: PreflightResult

    def verdict_after(self, probed: ProbeResult, verdict: Verdict) -> Verdict:
        """That of the probe, or that the trial is too slow, now that its steps were timed."""
        if not verdict.trainable or probed.steps is None or not probed.steps.step_seconds:
            return verdict
        slow = self.rule(self.result.refined(probed))
        return verdict if slow.trainable else slow


def fit(model: nn.Module, inputs: Inputs, training: Training, limits: Limits) -> Fit | None:
    """Estimate and judge; None where the estimate failed, which is logged and condemns nobody.

    Args:
        model: As it was built; it stays as it is.
        inputs: Batches as the training loop gets them.
        training: How it trains.
        limits: What it may take; ``"device"`` is that of the probe actor.
    """
    device = next((tensor.device for tensor in model.parameters()), "cpu")
    try:
        result = preflight(model, inputs, training)
    except Exception:
        logger.warning("recent_prune: whether a trial fits is not known.", exc_info=True)
        return None
    rule = PreflightRule(limits.room(device, model), limits.seconds, limits.margin)
    return Fit(rule(result), rule, result)
