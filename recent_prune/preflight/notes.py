"""What a preflight does not count."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from recent_prune.probe.first_steps.training import Training


def notes_on(model: Any, device: torch.device, training: Training) -> tuple[str, ...]:
    """In sentences.

    Args:
        model: As the user gave it: wrapped, or a function, of which what it builds tells more.
        device: That it is estimated for.
        training: How it trains.
    """
    wrapper = notes_on_wrapper(model) if isinstance(model, nn.Module) else ()
    return (*_notes(device, training), *wrapper)


def notes_on_wrapper(model: nn.Module) -> tuple[str, ...]:
    """What a model is wrapped in that is not counted."""
    return tuple(_of_wrapper(model))


def _notes(device: torch.device, training: Training) -> Iterator[str]:
    if device.type == "cuda":
        yield (
            "Not counted: the CUDA context, workspaces of cuBLAS and cuDNN, and fragmentation, "
            "some hundreds of MiB in all."
        )
    elif device.type != "cpu":
        yield f"The allocator of {device.type} is taken for that of CUDA."
    if training.accumulate > 1:
        yield f"A step is one of {training.accumulate} accumulated batches."


def _of_wrapper(model: nn.Module) -> Iterator[str]:
    if hasattr(model, "_orig_mod"):
        yield "Counted as it runs without torch.compile, which as a rule holds fewer activations."
    wrapped = getattr(model, "_orig_mod", model)
    if isinstance(wrapped, nn.parallel.DistributedDataParallel):
        yield (
            "Not counted: the buckets of DistributedDataParallel, as large as the gradients unless "
            "gradient_as_bucket_view is set."
        )
    elif isinstance(wrapped, nn.DataParallel):
        yield "Counted as if one device had the whole batch: DataParallel spreads it."
    if any("FSDP" in k.__name__ or k.__name__ == "FullyShardedDataParallel" for k in _kinds(model)):
        yield "Shards (FSDP) are not taken into account: counted as if one device held it all."


def _kinds(model: nn.Module) -> set[type]:
    return {kind for module in model.modules() for kind in type(module).__mro__}
