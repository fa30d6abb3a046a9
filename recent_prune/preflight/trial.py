"""What a preflight is asked about, checked as far as can be before anything runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter
from torch.optim import Optimizer

from recent_prune.preflight.faking import ModelFactory
from recent_prune.probe.batches.calling import Call
from recent_prune.probe.batches.inputs import Inputs
from recent_prune.probe.batches.samples import count_of
from recent_prune.probe.batches.walk import first_batch
from recent_prune.probe.first_steps.optimizers import checked
from recent_prune.probe.first_steps.training import Training
from recent_prune.probe.restoring.isolation import device_of, forked_random_states
from recent_prune.probe.watching.modules import unwrapped


@dataclass(frozen=True)
class Trial:
    """What is asked about.

    Attributes:
        model: Unwrapped, or a function that builds it.
        training: How it trains; ``call`` is in it.
        batch: As the loader yields it.
        size: Its samples.
        device: Where it will train.
    """

    model: nn.Module | ModelFactory
    training: Training
    batch: Any
    size: int
    device: torch.device


def asked(
    model: nn.Module | ModelFactory,
    batches: Inputs,
    training: Training,
    device: str | torch.device | None,
    call: Call | None,
    seed: int,
) -> Trial:
    """Check what is asked, and take the first batch; arguments as of `preflight`.

    Raises:
        TypeError: If an argument is of the wrong type, or ``batches`` are none.
        ValueError: If one is out of its range.
    """
    if not isinstance(training, Training):
        raise TypeError(f"`training` must be a Training, but got {type(training).__name__}.")
    if call is not None:
        if training.call is not None:
            raise ValueError("`call` must be None where `training` has one.")
        training = replace(training, call=call)
    if isinstance(model, type) or not callable(model):
        hint = f": give lambda: {model.__name__}(…)" if isinstance(model, type) else ""
        raise TypeError(
            f"`model` must be a module or a function that builds one, but got {model!r}{hint}."
        )
    if isinstance(model, nn.Module):
        model = unwrapped(model)
        check_model(model)
        if isinstance(training.optimizer, Optimizer):
            checked(training.optimizer, model)
    elif isinstance(training.optimizer, Optimizer):
        raise TypeError(
            "`training.optimizer` must be a function from parameters to an optimizer where `model` "
            f"is a function, but got {type(training.optimizer).__name__}."
        )
    place = _device(model, device)
    with forked_random_states((), seed):
        batch = first_batch(batches, training.batch_size, seed)
    return Trial(model, training, batch, count_of(batch), place)


def check_model(model: nn.Module) -> None:
    """Refuse what cannot be trained, or not be looked into.

    Raises:
        TypeError: If it is compiled by TorchScript.
        ValueError: If it has no parameters, or some that are not there yet.
    """
    if isinstance(model, torch.jit.ScriptModule):
        raise TypeError(
            f"`model` must be an eager torch.nn.Module, but got {type(model).__name__}: estimate "
            "it before torch.jit.script."
        )
    parameters = list(model.parameters())
    if not parameters:
        raise ValueError(f"`model` ({type(model).__name__}) has no parameters to train.")
    if any(isinstance(parameter, UninitializedParameter) for parameter in parameters):
        raise ValueError(
            "`model` has uninitialized parameters: run one forward pass of lazy modules first."
        )


def _device(model: nn.Module | ModelFactory, device: str | torch.device | None) -> torch.device:
    if device is None:
        lies = device_of(model) if isinstance(model, nn.Module) else torch.device("cpu")
        return torch.device("cpu") if lies.type == "meta" else lies
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"`device` must be a device such as 'cuda', but got {device!r}."
        ) from error
    if place.type == "meta":
        raise ValueError("`device` must be where it will train, but got 'meta'.")
    return place
