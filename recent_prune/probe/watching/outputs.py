"""A forward pass, and what comes out of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from recent_prune.probe.batches.calling import way_out
from recent_prune.probe.batches.inputs import first_tensor
from recent_prune.probe.batches.view import View


def forward_once(model: nn.Module, batch: Tensor, forward: Callable[[Tensor], object]) -> Any:
    """Run it; an error gets a note that says with what."""
    try:
        return forward(batch.clone())  # a model may change its input in place
    except Exception as error:
        # A note keeps the type, so that a caller can still tell an out-of-memory error.
        error.add_note(
            f"Raised in the probe, during the forward pass of `model` ({type(model).__name__}) for "
            f"a batch of shape {tuple(batch.shape)}, {batch.dtype}, on {batch.device} (`inputs`, "
            f"and perturbed copies of some); its parameters are {_dtypes(model)}."
            f" {way_out(model)}"
        )
        raise


def _dtypes(model: nn.Module) -> str:
    return ", ".join(sorted({str(parameter.dtype) for parameter in model.parameters()}))


def is_of_integers(tensor: Tensor | None) -> bool:
    """Whether these are tokens or categories; truth values are not."""
    return tensor is not None and tensor.dtype != torch.bool and is_plain(tensor)


def is_plain(tensor: Tensor) -> bool:
    """Whether these are integers or truth values, of which nothing can be reconstructed."""
    return not (tensor.is_floating_point() or tensor.is_complex())


class MergedAxesError(ValueError):
    """All activations have another axis merged with that of the samples."""


def output_of(
    model: nn.Module, view: View, output: Any, *, passed_over: int, merged: bool
) -> Tensor:
    """The output of a model that has no hidden activations.

    Raises:
        MergedAxesError: If some were passed over, as another axis is merged with the samples'.
        ValueError: If others were, or the output is nothing to probe.
    """
    if passed_over:
        raise (MergedAxesError if merged else ValueError)(
            f"`model` ({type(model).__name__}) has {passed_over} hidden activations, but none has "
            f"an axis of {view.count} samples in first or second place; name modules whose "
            "outputs have, with `layers`."
        )
    tensor = first_tensor(output)
    activation = None if tensor is None else view.of(output, tensor)
    if activation is None and tensor is not None and tensor.is_floating_point():
        activation = tensor[:, None] if tensor.shape == (view.count,) else None
    if activation is None:
        raise ValueError(
            f"`model` ({type(model).__name__}) has no activations to probe: no floating "
            f"tensor of {view.count} samples arrives at a weighted layer after the first, "
            f"and its output is {_describe(output)}."
        )
    return activation


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a {value.dtype} tensor of shape {tuple(value.shape)}"
    return f"a {type(value).__name__}"
