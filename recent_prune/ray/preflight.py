"""Does a trial fit its worker: judged in the probe actor, before it is probed."""

from __future__ import annotations

import logging

from torch import nn

from recent_prune.preflight import Limits, preflight
from recent_prune.probe import Training
from recent_prune.probe.batches.inputs import Inputs
from recent_prune.rules.fit import Fit

logger = logging.getLogger(__name__)


def fit(model: nn.Module, inputs: Inputs, training: Training, limits: Limits) -> Fit | None:
    """Estimate and judge; None where the estimate failed, which is logged and condemns nobody.

    Args:
        model: As it was built; it stays as it is.
        inputs: Batches as the training loop gets them.
        training: How it trains.
        limits: What it may take; ``"device"`` is that of the probe actor, see
            :func:`recent_prune.ray.nodes.of_cluster`.
    """
    device = next((tensor.device for tensor in model.parameters()), "cpu")
    try:
        result = preflight(model, inputs, training)
    except Exception:
        logger.warning("recent_prune: whether a trial fits is not known.", exc_info=True)
        return None
    return Fit.of(result, limits, limits.room(device, model))
