"""What a user has at hand: tensors that lie side by side, or a loader of batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils.data import DataLoader

from recent_prune.probe.restoring.generators import kept_in
from recent_prune.probe.restoring.interrupts import putting_back

MINIMUM_SAMPLES = 16
"""Fewer samples leave nothing to fit on and nothing to hold out."""

LABEL_NAMES = ("labels", "label", "targets", "target", "y")
_INPUT_NAMES = ("input_ids", "pixel_values", "inputs", "input", "images", "image", "x")

Inputs = Tensor | npt.NDArray[Any] | Iterable[Any]
"""Tensors or arrays [n, …] side by side, or an iterable of batches."""


def from_array(array: npt.NDArray[Any]) -> Tensor:
    """A tensor of an array's numbers, floats in PyTorch's default type, as models have them."""
    tensor = torch.from_numpy(np.require(array, requirements="W"))
    return tensor.to(torch.get_default_dtype()) if tensor.is_floating_point() else tensor


def first_tensor(value: Any) -> Tensor | None:
    """The first tensor in a tensor, a (nested) sequence, mapping, dataclass or graph, or None."""
    return next(tensors_of(value), None)


def tensors_of(value: Any) -> Iterator[Tensor]:
    """All of them, in order."""
    if isinstance(value, Tensor):
        yield value
    else:
        for part in parts_of(value):
            yield from tensors_of(part)


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


def is_side_by_side(inputs: object) -> bool:
    """Whether these are samples that lie side by side, as one tensor or several, and no batches.

    A tensor or array; a tuple or mapping of such, of one length, ``((a, b), targets)`` included; of
    a list, which may be of batches, only what is surely a pair (inputs, targets).
    """
    if isinstance(inputs, (Tensor, np.ndarray, PackedSequence)):
        return not isinstance(inputs, PackedSequence)
    if isinstance(inputs, Mapping):
        return _of_one_length(list(inputs.values()))
    if isinstance(inputs, list):
        return _of_one_length(inputs) and len(inputs) == 2 and inputs[1].ndim < inputs[0].ndim
    if not isinstance(inputs, tuple) or not inputs:
        return False
    first, *others = inputs
    if others and isinstance(first, (tuple, list, Mapping)):
        first = list(first.values()) if isinstance(first, Mapping) else list(first)
        return _of_one_length([*first, *others])
    return _of_one_length(list(inputs))


def _of_one_length(parts: list[Any]) -> bool:
    return (
        len(parts) > 0
        and all(isinstance(t, (Tensor, np.ndarray)) and t.ndim > 0 for t in parts)
        and len({len(t) for t in parts}) == 1
    )


def chosen(inputs: Any, index: Tensor) -> Any:
    """Some samples of what lies side by side."""
    if isinstance(inputs, Mapping):
        return {name: chosen(part, index) for name, part in inputs.items()}
    if isinstance(inputs, (tuple, list)):
        return type(inputs)(chosen(part, index) for part in inputs)
    tensor = from_array(inputs) if isinstance(inputs, np.ndarray) else inputs.detach()
    return tensor[index.to(tensor.device)]


def inputs_of(batch: Any) -> Tensor | None:
    """The tensor of a batch that is meant, by its name; None where there is none."""
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
    if not bool(torch.isfinite(samples).all()):
        bad = int((~torch.isfinite(samples)).flatten(1).any(dim=1).sum())
        raise ValueError(
            f"`inputs` must be finite, but {bad} of {len(samples)} samples hold NaN or infinity."
        )
    if bool((samples == samples[:1]).all()):
        raise ValueError(
            "`inputs` must vary, but all samples are equal: there is no information to follow."
        )


@putting_back
def loader_restored(loader: object) -> Iterator[None]:
    """Leave a data loader as it was.

    Generators that it, its samplers, its data sets and their transforms hold come back, what these
    count, its position where it tells one (``state_dict``), and no worker of this pass serves the
    next one.
    """
    held = kept_in(loader)
    running = loader._iterator if isinstance(loader, DataLoader) else None
    position = _position(loader)
    if isinstance(loader, DataLoader):
        # Persistent workers: this pass would take those of the user's, and the next pass would use
        # those of this one and draw no seed.
        loader._iterator = None
    try:
        yield
    finally:
        if position is not None:
            loader.load_state_dict(position)  # type: ignore[attr-defined]
        for put_back in held:
            put_back()
        if isinstance(loader, DataLoader):
            loader._iterator = running


def _position(loader: object) -> Any:
    """Of a loader that tells one; None of others."""
    if not hasattr(loader, "load_state_dict"):
        return None
    try:
        return loader.state_dict()  # type: ignore[attr-defined]
    except AttributeError:  # such as one that is wrapped around a loader without
        return None
