"""Probes with first steps, after which everything is as it was."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import (
    cross_entropy,
)

import recent_prune as rp
from recent_prune.probe.first_steps.result import FirstSteps
from tests.probe.first_steps.trials import batches, model_state, random_states

DATA = batches()
IMAGES = [images for images, _ in DATA]


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, 0.1)


def adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, 1e-2)


def untouched(
    model: nn.Module, inputs: Any, loss: Any = cross_entropy, optimizer: Any = adam, **other: Any
) -> rp.ProbeResult:
    """A probe, after which everything is as it was."""
    before = model_state(model), random_states()
    result = rp.probe(model, inputs, training=rp.Training(loss, optimizer, **other))
    assert (model_state(model), random_states()) == before
    return result


def steps_of(*arguments: Any, **other: Any) -> FirstSteps:
    found = untouched(*arguments, **other).steps
    assert found is not None
    return found


def learns(steps: FirstSteps) -> bool:
    return steps.loss_after < steps.loss_before and steps.nonfinite_step is None


def fails(
    error: type[Exception],
    message: str,
    model: nn.Module,
    inputs: Any,
    *arguments: Any,
    **other: Any,
) -> str:
    """The notes of an error, after which everything is as it was."""
    before = model_state(model), random_states()
    defaults: list[Any] = [cross_entropy, adam]
    loss, optimizer = [*arguments, *defaults[len(arguments) :]]
    with pytest.raises(error, match=message) as caught:
        rp.probe(model, inputs, training=rp.Training(loss, optimizer, **other))
    assert (model_state(model), random_states()) == before
    return "\n".join(getattr(caught.value, "__notes__", []))
