"""Refuse models and names of layers that cannot be probed."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter

from recent_prune.probe.watching.applying import applied_layers
from recent_prune.probe.watching.modules import is_quantized, is_sharded, named_modules
from recent_prune.probe.watching.names import (
    inner_name,
    input_of,
    name_of_steps,
    without_number,
)


def check_model(model: nn.Module) -> None:
    """Refuse what cannot be probed at all.

    Raises:
        TypeError: If ``model`` is not a module, compiled by TorchScript, or sharded.
        ValueError: If it has no parameters, or parameters that are not initialized yet.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"`model` must be a torch.nn.Module, but got {type(model).__name__}.")
    if isinstance(model, torch.jit.ScriptModule):
        raise TypeError(
            f"`model` must be an eager torch.nn.Module, but got {type(model).__name__}: probe it "
            "before torch.jit.script."
        )
    if any(map(is_sharded, model.modules())):
        raise TypeError(
            f"`model` ({type(model).__name__}) must have its parameters whole, but they are "
            "sharded: probe it before fully_shard (it comes back as it was)."
        )
    parameters = dict(model.named_parameters())
    if not parameters:
        packed = any(map(is_quantized, model.modules()))
        raise ValueError(
            f"`model` ({type(model).__name__}) has no parameters, so there is no "
            f"initialization to probe{': probe it before its quantization' if packed else ''}."
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
        TypeError: If ``layers`` is a string or no sequence, or holds something else than strings.
    """
    if isinstance(layers, str):
        raise TypeError(f"`layers` must be a sequence of names, but got the string {layers!r}.")
    if layers is not None and not isinstance(layers, Collection):
        raise TypeError(f"`layers` must be a sequence of names, but got {layers!r}.")
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
    arrived_at = map(input_of, [*names, *(layer.name for layer in applied_layers(model))])
    known = {*names, *arrived_at, *inner}
    plain = {name: without_number(name) for name in layers}
    unknown = [n for n in layers if not {plain[n], name_of_steps(plain[n])} & known]
    if not layers or unknown:
        raise ValueError(
            "`layers` must name modules of the model (or 'input of NAME', 'NAME.steps'), but got "
            f"{unknown or list(layers)}; there are {names}."
        )
