"""Trials with a learning rate, judged in this process as a probe actor does."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from recent_prune.probe import ProbeResult, Training
from recent_prune.ray.judging.outcome import Candidate, Outcome
from recent_prune.ray.probing import ProbeSettings, probe_batch
from recent_prune.rules import Cause, Verdict
from tests.networks import mlp

Batches = tuple[Tensor, Tensor]


def build(config: dict[str, Any]) -> nn.Module:
    return mlp(seed=None)


def training(model: nn.Module, config: dict[str, Any]) -> Training | None:
    if config.get("raises"):
        raise RuntimeError("no such optimizer\nand more")
    if config.get("unjudged"):
        return None
    if config.get("wrong"):
        return torch.optim.SGD(model.parameters(), 1.0)  # type: ignore[return-value]
    optimizer = torch.optim.SGD(model.parameters(), config["lr"])
    return Training(config.get("loss", cross_entropy), optimizer, steps=3, budget=300)


def diverges(result: ProbeResult) -> Verdict:
    """Condemns by nothing but the loss after the steps."""
    steps = result.steps
    if steps is None:
        return Verdict(True, 0.0, "No steps.")
    loss = steps.loss_after
    if math.isfinite(loss) and loss < 10 * steps.constant_loss:
        return Verdict(True, -0.5, f"{steps.made} steps at {steps.learning_rate:g}.")
    return Verdict(False, 0.75, f"Loss {loss:g}.", cause=Cause.DIVERGES, advice="Smaller steps.")


def settings(inputs: Any, **options: Any) -> ProbeSettings:
    known: dict[str, Any] = {
        "build_model": build,
        "rule": diverges,
        "estimator": "ridge",
        "layers": None,
        "rtol": 0.005,
        "training": training,
    }
    return ProbeSettings(inputs=inputs, **{**known, **options})


def outcomes(known: ProbeSettings, *configs: dict[str, Any]) -> list[Outcome]:
    candidates = [Candidate(str(number), config) for number, config in enumerate(configs)]
    found = probe_batch(known, known.load_inputs(), candidates)
    assert [outcome.trial_id for outcome in found] == [c.trial_id for c in candidates]
    return found
