"""What the tests of whole trials share."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.functional import cross_entropy

import recent_prune as rp
from tests.probe.first_steps.trials import (
    batches,
)

DATA = batches()


def training_of(optimizer: Any, **other: Any) -> rp.Training:
    return rp.Training(cross_entropy, optimizer, **other)


def flat_of(model: nn.Module) -> list[dict[str, Any]]:
    return [{"params": list(model.parameters()), "lr": 1e-2}]
