"""Refuse models and names of layers that cannot be probed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter

from recent_prune.probe.watching.modules import named_modules
from recent_prune.probe.watching.names import inner_name, input_of, without_number


def check_model(model: nn.Module) -> None:
    """Refuse what cannot be probed at all.

    Raises:
        TypeError: If ``model`` is not a module, or compiled by TorchScript.
        ValueError: If it has no parameters, or parameters that are not initialized yet.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"`model` must be a torch.nn.Module, but got {type(model).__name__}.")
    if isinstance(model, torch.jit.ScriptModule):
        raise TypeError(
            f"`model` must be an eager torch.nn.Module, but got {type(model).__name__}: probe it "
            "before torch.jit.script."
        )
    parameters = dict(model.named_parameters())
    if not parameters:
        raise ValueError(
            f"`model` ({type(model).__name__}) has no parameters, so there is no "
            "initialization to probe."
        )
    if any(parameter.is_meta for parameter in parameters.values()):
        raise ValueError("`model` must have values, but has parameters on the meta device.")
    for name, parameter in parameters.items():
        if isinstance(parameter, UninitializedParameter):
            raise ValueError(
                f"`model` has the uninitialized parameter {name!r}: run one forward pass of "
                "lazy modules before the probe."
            )


def check_layers(layers: Sequence[str] | None) -> None:
    """Refuse what are no names.

    Raises:
        TypeError: If ``layers`` is a string, or holds something else than strings.
    """
    if isinstance(layers, str):
        raise TypeError(f"`layers` must be a sequence of names, but got the string {layers!r}.")
    for name in layers or ():
        if not isinstance(name, str):
            raise TypeError(f"`layers` must hold names, but got a {type(name).__name__}.")


def check_names(model: nn.Module, layers: Sequence[str] | None) -> None:
    """Refuse what names no activations of the model.

    Raises:
        TypeError: As :func:`check_layers`.
        ValueError: If ``layers`` is empty or names what the model has not.
    """
    if layers is None:
        return
    check_layers(layers)
    names = [name for name, _ in named_modules(model) if name]
    stacks = {n: m.num_layers for n, m in named_modules(model) if isinstance(m, nn.RNNBase)}
    inner = {inner_name(name, i) for name, count in stacks.items() for i in range(1, count)}
    known = {*names, *map(input_of, names), *inner}
    unknown = [name for name in layers if without_number(name) not in known]
    if not layers or unknown:
        raise ValueError(
            "`layers` must name modules of the model (or 'input of NAME'), but got "
            f"{unknown or list(layers)}; there are {names}."
        )
