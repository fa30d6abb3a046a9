"""From what a user has at hand (a tensor, a data loader) to one checked batch of samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

MINIMUM_SAMPLES = 16
"""Fewer samples leave nothing to fit on and nothing to hold out."""

LABEL_NAMES = ("labels", "label", "targets", "target", "y")
_INPUT_NAMES = ("input_ids", "pixel_values", "inputs", "input", "images", "image", "x")

Inputs = Tensor | npt.NDArray[Any] | Iterable[Any]
"""A tensor or array [n, …], or an iterable of batches: tensors, or (inputs, labels, …), or
mappings."""


class UnlikeShapesError(ValueError):
    """Samples of several batches cannot be put together as they are."""


def gather(inputs: Inputs, samples: int | None) -> Tensor:
    """Collect up to ``samples`` samples and check that they can be probed.

    From a tensor, evenly spaced samples are taken, so that data sorted by class serves as well;
    from an iterable its first ones, and no batch more than needed is asked for. Of a batch that
    is a tuple or list the first tensor is taken, of a mapping what is called an input
    (``input_ids``, ``pixel_values``, ``inputs``, ``input``, ``images``, ``image``, ``x``), else its
    only tensor that is no label (``labels``, ``label``, ``targets``, ``target``, ``y``). A data
    loader's own random generators are put back.

    Args:
        inputs: Tensor or NumPy array [n, …] (floats become PyTorch's default), or iterable of
            batches.
        samples: How many samples at most; None takes all.

    Returns:
        min(n, samples) samples, where they were.

    Raises:
        TypeError: If ``inputs`` is neither a tensor nor an iterable, or a batch has no tensor.
        ValueError: If there are fewer than 16 samples, NaN or infinite values, or no variance, or
            a mapping does not tell which of its tensors is meant.
    """
    if isinstance(inputs, np.ndarray):
        inputs = from_array(inputs)
    if is_one_batch(inputs):
        inputs = [inputs]
    if isinstance(inputs, Tensor):
        gathered = _from_tensor(inputs.detach(), samples)
    elif isinstance(inputs, Iterable) and not isinstance(inputs, (str, bytes, Mapping)):
        with loader_restored(inputs):
            gathered = samples_of(inputs, samples)
    else:
        raise TypeError(
            "`inputs` must be a tensor or array [n, …] or an iterable of batches (a DataLoader), "
            f"but got {type(inputs).__name__}."
        )
    check_samples(gathered)
    return gathered


def from_array(array: npt.NDArray[Any]) -> Tensor:
    """A tensor of an array's numbers, floats in PyTorch's default type, as models have them."""
    tensor = torch.from_numpy(np.require(array, requirements="W"))
    return tensor.to(torch.get_default_dtype()) if tensor.is_floating_point() else tensor


def first_tensor(value: Any) -> Tensor | None:
    """The first tensor in a tensor, a (nested) sequence, mapping, dataclass or graph, or None."""
    if isinstance(value, Tensor):
        return value
    found = map(first_tensor, parts_of(value))
    return next((tensor for tensor in found if tensor is not None), None)


def parts_of(value: Any) -> list[Any]:
    """What a sequence, a mapping, a dataclass or an object with tensors for attributes holds."""
    return list(named_parts(value).values())


def named_parts(value: Any) -> dict[str, Any]:
    """The same with names: keys, places or attributes."""
    if isinstance(value, Mapping):
        return {str(key): item for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {known.name: getattr(value, known.name) for known in fields(value)}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return {str(place): item for place, item in enumerate(value)}
    if hasattr(value, "to_dict") and hasattr(value, "to"):  # a graph of PyTorch Geometric
        return dict(value.to_dict())
    if isinstance(value, (Tensor, nn.Module)) or not hasattr(value, "__dict__"):
        return {}
    return {k: v for k, v in vars(value).items() if isinstance(v, Tensor)}


def _from_tensor(inputs: Tensor, samples: int | None) -> Tensor:
    if inputs.dim() == 0:
        raise ValueError("`inputs` must have shape [n, …], but got a scalar tensor.")
    n = len(inputs)
    if samples is None or n <= samples:
        return inputs
    index = torch.linspace(0, n - 1, samples, dtype=torch.float64, device="cpu").round().long()
    return inputs[index.to(inputs.device)]


def samples_of(batches: Iterable[Any], samples: int | None) -> Tensor:
    """The first samples of an iterable of batches, and no batch more than needed is asked for.

    Args:
        batches: Each holds a tensor [batch, …].
        samples: How many at most; None takes all.

    Raises:
        TypeError: If a batch has no tensor.
        ValueError: If there is none, or their samples have different shapes.
    """
    collected: list[Tensor] = []
    count = 0
    for number, batch in enumerate(batches):
        tensor = inputs_of(batch)
        if tensor is None or tensor.dim() == 0:
            raise TypeError(
                f"Batch {number} of `inputs` must hold a tensor [batch, …], but got "
                f"{type(batch).__name__}."
            )
        collected.append(tensor.detach())
        count += len(tensor)
        if samples is not None and count >= samples:
            break
    if not collected:
        raise ValueError("`inputs` must yield at least one batch, but it is empty.")
    shapes = {tuple(t.shape[1:]) for t in collected}
    if len(shapes) > 1:
        raise UnlikeShapesError(
            "Batches of `inputs` must have samples of one shape, but got "
            f"{', '.join(map(str, sorted(shapes)))}."
        )
    return torch.cat(collected)[:samples]


def is_one_batch(inputs: object) -> bool:
    """Whether this is a batch (inputs, labels) and not a sequence of batches."""
    return (
        isinstance(inputs, (tuple, list))
        and len(inputs) >= 2
        and all(isinstance(item, Tensor) for item in inputs)
        and inputs[1].shape[:1] == inputs[0].shape[:1]
        and (
            inputs[1].dim() < inputs[0].dim()
            # Such as labels, one-hot; lists are of batches.
            or (isinstance(inputs, tuple) and inputs[1].shape[1:] != inputs[0].shape[1:])
        )
    )


def inputs_of(batch: Any) -> Tensor | None:
    """The tensor of a batch that is probed, see `gather`; None where there is none."""
    if isinstance(batch, Mapping):
        named = [batch[name] for name in _INPUT_NAMES if name in batch]
        others = {name: value for name, value in batch.items() if name not in LABEL_NAMES}
        meant = [n for n, value in others.items() if isinstance(value, Tensor) and value.dim() > 1]
        if not named and len(meant) > 1:
            raise ValueError(
                f"A batch of `inputs` is a mapping with tensors under {meant}: call the one that "
                f"the model gets by one of {', '.join(_INPUT_NAMES)}, or give it alone."
            )
        return first_tensor(named or list(others.values()))
    return first_tensor(batch)


def check_samples(samples: Tensor) -> None:
    """Refuse what cannot be probed.

    Raises:
        ValueError: If there are fewer than 16 samples, NaN or infinite values, or no variance.
    """
    if len(samples) < MINIMUM_SAMPLES:
        raise ValueError(
            f"`inputs` must hold at least {MINIMUM_SAMPLES} samples, but got {len(samples)}: "
            "a probe fits on some and judges on others."
        )
    scalar = samples.dim() == 1 and samples.is_floating_point()
    if scalar or samples[0].numel() == 0:
        raise ValueError(
            f"`inputs` must have features, [n, …], but got shape {tuple(samples.shape)}."
        )
    if samples.is_floating_point() and not bool(torch.isfinite(samples).all()):
        bad = int((~torch.isfinite(samples)).flatten(1).any(dim=1).sum())
        raise ValueError(
            f"`inputs` must be finite, but {bad} of {len(samples)} samples hold NaN or infinity."
        )
    if bool((samples == samples[:1]).all()):
        raise ValueError(
            "`inputs` must vary, but all samples are equal: there is no information to follow."
        )


@contextmanager
def loader_restored(loader: object) -> Iterator[None]:
    """Leave a data loader as it was.

    Its generators come back, its position where it tells one (``state_dict``), and no worker of
    this pass serves the next one.
    """
    samplers = (getattr(loader, "sampler", None), getattr(loader, "batch_sampler", None))
    owners = [loader, *samplers, getattr(samplers[1], "sampler", None)]
    generators = [getattr(owner, "generator", None) for owner in owners]
    states = [(g, g.get_state()) for g in generators if isinstance(g, torch.Generator)]
    running = loader._iterator if isinstance(loader, DataLoader) else None
    tells = hasattr(loader, "state_dict") and hasattr(loader, "load_state_dict")
    position = loader.state_dict() if tells else None  # type: ignore[attr-defined]
    if isinstance(loader, DataLoader):
        # Persistent workers: this pass would take those of the user's, and the next pass would use
        # those of this one and draw no seed.
        loader._iterator = None
    try:
        yield
    finally:
        if tells:
            loader.load_state_dict(position)  # type: ignore[attr-defined]
        for generator, state in states:
            generator.set_state(state)
        if isinstance(loader, DataLoader):
            loader._iterator = running
