"""One walk over the batches, which serves the first steps, their judging and the probe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recent_prune.probe.batches.inputs import (
    Inputs,
    check_samples,
    first_tensor,
    from_array,
    gather,
    is_one_batch,
    loader_restored,
    samples_of,
)
from recent_prune.probe.batches.samples import check_count, count_of


@dataclass(frozen=True)
class Walk:
    """What was met on the way.

    Attributes:
        trained: Batches of the first steps, as the loader yields them.
        judged: Batches that the steps are judged by, and the probe's samples are from. They are
            others than the ``trained`` ones, as far as the loader has more.
        samples: To probe, [n, …], by the first tensor of each judged batch; None where they do not
            fit together.
        refused: Why not.
    """

    trained: list[Any]
    judged: list[Any]
    samples: Tensor | None
    refused: Exception | None = None

    @property
    def of_one_tensor(self) -> Tensor:
        """The samples.

        Raises:
            Exception: Why there are none.
        """
        if self.samples is None:
            assert self.refused is not None
            raise self.refused
        return self.samples


def walk(inputs: Inputs, steps: int, samples: int | None, batch_size: int, seed: int) -> Walk:
    """Collect so many batches for the steps, and further ones with so many samples.

    A loader that ends earlier is divided: its last batches, at most half of them, are judged, and
    the steps go through the others again; with one batch both are the same.

    Args:
        inputs: An iterable of batches, which is asked for no more than needed; or one batch of
            tensors, such as ``(inputs, targets)``, which is shuffled and cut.
        steps: Batches to train on.
        samples: To judge and to probe, at least; None takes all there are.
        batch_size: Of tensors.
        seed: Of their order.

    Raises:
        TypeError: If ``inputs`` are no batches.
        ValueError: If there is no batch, or its samples cannot be probed.
    """
    if isinstance(inputs, (Tensor, np.ndarray)):
        batches: Iterable[Any] = _cut((inputs,), batch_size, seed)
    elif is_one_batch(inputs) or _is_tuple_of_tensors(inputs):
        batches = _cut(inputs, batch_size, seed)  # type: ignore[arg-type]
    elif isinstance(inputs, Iterable) and not isinstance(inputs, (str, bytes, Mapping)):
        batches = inputs
    else:
        raise TypeError(
            "`inputs` must be an iterable of batches (a DataLoader) or tensors (inputs, targets), "
            f"but got {type(inputs).__name__}."
        )
    met: list[Any] = []
    further = 0
    with loader_restored(batches):
        for batch in batches:
            check_batch(batch, len(met))
            met.append(batch)
            if len(met) > steps:
                further += count_of(batch)
            if len(met) >= steps and samples is not None and further >= samples:
                break
    if not met:
        raise ValueError("`inputs` must yield at least one batch, but it is empty.")
    wanted = further if samples is None else samples
    place = steps if further >= max(wanted, 1) else _divided(met, steps, max(wanted, 1))
    trained, judged = met[:place] or met, met[place:] or met
    # Where the judged ones are few, the probe takes the others too.
    enough = judged if judged is met else _enough([*judged, *trained], samples)
    return Walk(trained, enough[: len(judged)], *_samples(enough, samples))


def untrained(inputs: Inputs, samples: int | None) -> Walk:
    """The same where nothing is trained: samples to probe alone, see :func:`gather`.

    Raises:
        TypeError: If ``inputs`` are neither a tensor nor batches.
        ValueError: If there is no batch, or its samples cannot be probed.
    """
    plain = isinstance(inputs, (Tensor, np.ndarray, str, bytes, Mapping)) or is_one_batch(inputs)
    if plain or not isinstance(inputs, Iterable):
        found = gather(inputs, samples)
        return Walk([], [found], found)
    met: list[Any] = []
    with loader_restored(inputs):
        count = 0
        for batch in inputs:
            check_batch(batch, len(met))
            met.append(batch)
            count += count_of(batch)
            if samples is not None and count >= samples:
                break
    if not met:
        raise ValueError("`inputs` must yield at least one batch, but it is empty.")
    return Walk([], met, *_samples(met, samples))


def check_batch(batch: Any, number: int) -> None:
    """Refuse what has no samples, and single samples that were taken for batches.

    Raises:
        TypeError: If it holds no tensor.
        ValueError: If it is a single sample.
    """
    if first_tensor(batch) is None or count_of(batch) == 0:
        raise TypeError(
            f"Batch {number} of `inputs` must hold a tensor [batch, …], but got "
            f"{type(batch).__name__}."
        )
    target = batch[-1] if isinstance(batch, (tuple, list)) and len(batch) > 1 else None
    if isinstance(target, (int, float)) or (isinstance(target, Tensor) and target.dim() == 0):
        raise ValueError(
            f"`inputs` must yield batches, but its item {number} looks like a single sample (its "
            "last part is one number): give a DataLoader(dataset, batch_size=…)."
        )


def _samples(batches: Sequence[Any], samples: int | None) -> tuple[Tensor | None, Exception | None]:
    """Those of the first tensors, or why they do not fit together: the model may take more."""
    check_count(batches)
    try:
        found = samples_of(batches, samples)
    except (TypeError, ValueError, RuntimeError) as error:
        return None, error
    try:
        check_samples(found)
    except ValueError as error:
        return None, error
    return found, None


def _is_tuple_of_tensors(inputs: object) -> bool:
    """Whether this is one batch: a tuple of tensors of one length (lists are of batches)."""
    return (
        isinstance(inputs, tuple)
        and len(inputs) > 0
        and all(isinstance(t, (Tensor, np.ndarray)) and t.ndim > 0 for t in inputs)
        and len({len(t) for t in inputs}) == 1
    )


def _divided(met: Sequence[Any], steps: int, samples: int) -> int:
    """Where the judged batches begin of a loader that ends too early."""
    place, count = len(met), 0
    while place > max(len(met) // 2, 1) and count < samples:
        place -= 1
        count += count_of(met[place])
    return min(place, steps)


def _enough(batches: Sequence[Any], samples: int | None) -> list[Any]:
    chosen: list[Any] = []
    count = 0
    for batch in batches:
        if samples is not None and count >= samples:
            break
        chosen.append(batch)
        count += count_of(batch)
    return chosen


def _cut(tensors: Sequence[Any], batch_size: int, seed: int) -> Iterable[Any]:
    """Shuffled batches of tensors that lie side by side; none of a single sample is left over."""
    whole = [from_array(t) if isinstance(t, np.ndarray) else t for t in tensors]
    if any(t.dim() == 0 or len(t) != len(whole[0]) for t in whole):
        shapes = [tuple(t.shape) for t in whole]
        raise ValueError(f"`inputs` must be tensors of as many samples, but got shapes {shapes}.")
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(whole[0]), generator=generator, device="cpu")
    cut = list(order.split(batch_size))
    if batch_size > 1 and len(cut) > 1 and len(cut[-1]) == 1:  # batch normalisation refuses it
        cut[-2:] = [torch.cat(cut[-2:])]
    for part in cut:
        parts = tuple(t[part.to(t.device)] for t in whole)
        yield parts if len(parts) > 1 else parts[0]
