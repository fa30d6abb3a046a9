"""One walk over the batches, which serves the first steps, their judging and the probe."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from recent_prune.probe.batches.calling import Calling, target_of
from recent_prune.probe.batches.inputs import (
    Inputs,
    check_samples,
    chosen,
    first_tensor,
    is_side_by_side,
    loader_restored,
)
from recent_prune.probe.batches.samples import check_count, count_of


@dataclass(frozen=True)
class Walk:
    """What was met on the way.

    Attributes:
        trained: Batches of the first steps, as the loader yields them.
        judged: Batches that the steps are judged by, and the probe's samples are from. They are
            others than the ``trained`` ones, as far as the loader has more.
        probed: Batches with the samples to probe.
        seconds: That the loader took for a batch, median of those after the first; NaN where there
            are none.
    """

    trained: list[Any]
    judged: list[Any]
    probed: list[Any]
    seconds: float = math.nan


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
    batches = _cut(inputs, batch_size, seed) if is_side_by_side(inputs) else _checked(inputs)
    found = _collected(batches, steps, samples)
    met, further = found.met, found.further
    wanted = further if samples is None else samples
    place = steps if further >= max(wanted, 1) else _divided(met, steps, max(wanted, 1))
    trained, judged = met[:place] or met, met[place:] or met
    # Where the judged ones are few, the probe takes the others too.
    enough = judged if judged is met else _enough([*judged, *trained], samples)
    check_count(enough)
    return Walk(trained, enough[: len(judged)], enough, found.seconds)


def untrained(inputs: Inputs, samples: int | None) -> Walk:
    """The same where nothing is trained: samples to probe alone.

    Of tensors that lie side by side evenly spaced samples are taken, so that data sorted by class
    serves as well; of an iterable its first batches, and none more than needed is asked for.

    Args:
        inputs: As of :func:`walk`.
        samples: How many at most; None takes all.

    Raises:
        TypeError: If ``inputs`` are no batches.
        ValueError: If there is no batch, or there are too few samples.
    """
    if is_side_by_side(inputs):
        n = _length(inputs)
        count = n if samples is None else min(samples, n)
        index = torch.linspace(0, max(n - 1, 0), count, dtype=torch.float64, device="cpu")
        met = [chosen(inputs, index.round().long())]
    else:
        met = _collected(_checked(inputs), 0, samples).met
    check_count(met)
    return Walk([], met, met)


def first_batch(inputs: Inputs, batch_size: int, seed: int) -> Any:
    """The first batch of a training; a loader is as it was before.

    Args:
        inputs: As of :func:`walk`.
        batch_size: Of tensors.
        seed: Of their order.

    Raises:
        TypeError: If ``inputs`` are no batches.
        ValueError: If there is none.
    """
    batches = _cut(inputs, batch_size, seed) if is_side_by_side(inputs) else _checked(inputs)
    return _collected(batches, 1, 0).met[0]


class _Collected(NamedTuple):
    met: list[Any]
    further: int
    seconds: float


def _collected(batches: Iterable[Any], steps: int, samples: int | None) -> _Collected:
    """So many batches and further ones with so many samples, how many those have, and the time."""
    met: list[Any] = []
    further = 0
    times: list[float] = []
    try:
        with loader_restored(batches):
            start = time.perf_counter()
            for batch in batches:
                times.append(time.perf_counter() - start)
                check_batch(batch, len(met))
                met.append(batch)
                if len(met) > steps:
                    further += count_of(batch)
                if len(met) >= steps and samples is not None and further >= samples:
                    break
                start = time.perf_counter()
    except Exception as error:
        error.add_note(f"Raised as batch {len(met)} of `inputs` was asked for.")
        raise
    if not met:
        raise ValueError("`inputs` must yield at least one batch, but it is empty.")
    # The first one waits for workers and caches.
    return _Collected(met, further, median(times[1:]) if len(times) > 1 else math.nan)


def one_tensor(
    model: nn.Module, batches: Sequence[Any], calling: Calling, samples: int | None
) -> Tensor | None:
    """Samples [n, …], where one tensor of each batch goes in, and all have one shape; else None.

    Args:
        model: That is called.
        batches: As the loader yields them.
        calling: How.
        samples: How many at most; None takes all.

    Raises:
        TypeError: If a batch fits no convention.
        ValueError: If the samples cannot be probed, or a mapping does not tell which of its tensors
            is meant.
    """
    parts = [calling.single(model, batch) for batch in batches]
    known = [part.detach() for part in parts if part is not None and part.dim() > 0]
    if len(known) < len(parts) or len({part.shape[1:] for part in known}) > 1:
        return None
    if any(len(part) != count_of(batch) for part, batch in zip(known, batches, strict=True)):
        return None
    found = (torch.cat(known) if len(known) > 1 else known[0])[:samples]
    check_samples(found)
    return found


def check_batch(batch: Any, number: int) -> None:
    """Refuse what has no samples, and single samples that were taken for batches.

    Raises:
        TypeError: If it holds no tensor.
        ValueError: If it is a single sample.
    """
    first = first_tensor(batch)
    if first is not None and first.is_nested:
        raise TypeError(
            f"Batch {number} of `inputs` holds a nested tensor, whose samples are not told apart: "
            "give padded ones with their mask (`torch.nested.to_padded_tensor`), or a list of "
            "tensors, and nest them in `call`."
        )
    if first is None or count_of(batch) == 0:
        raise TypeError(
            f"Batch {number} of `inputs` must hold a tensor [batch, …], but got "
            f"{type(batch).__name__}."
        )
    target = target_of(batch)
    if isinstance(target, (int, float)) or (isinstance(target, Tensor) and target.dim() == 0):
        raise ValueError(
            f"`inputs` must yield batches, but its item {number} looks like a single sample (its "
            "target is one number): give a DataLoader(dataset, batch_size=…)."
        )
    if isinstance(batch, (tuple, list)) and len(batch) == 2 and isinstance(batch[0], Tensor):
        _check_lengths(batch[0], target, number)


def _check_lengths(first: Tensor, target: Any, number: int) -> None:
    """Refuse a sample, such as a sequence, with a target of its own.

    More targets than samples are none: boxes of all images, or letters of all words, in a row.

    Raises:
        ValueError: If there are fewer, and as many in none of the input's axes.
    """
    if not isinstance(target, Tensor) or target.is_nested or first.dim() not in (2, 3):
        return
    count = len(target)
    if not 0 < count < len(first):
        return
    if count in first.shape[:2] or count % len(first) == 0 or len(first) % count == 0:
        return  # also where sequences, or their steps, come first, or all steps in a row
    if target.dim() > 1 and target.shape[1] in first.shape[:2]:
        return
    raise ValueError(
        f"`inputs` must yield batches, but the input of its item {number} has shape "
        f"{tuple(first.shape)} and the target {tuple(target.shape)}, which looks like a single "
        "sample: give a DataLoader(dataset, batch_size=…), or a mapping that tells what is what."
    )


def _checked(inputs: Any) -> Iterable[Any]:
    """An iterable of batches."""
    if isinstance(inputs, PackedSequence):
        return [inputs]
    others = (Tensor, np.ndarray, str, bytes, Mapping)
    if isinstance(inputs, others) or not isinstance(inputs, Iterable):
        raise TypeError(
            "`inputs` must be tensors or arrays [n, …] of one length, such as (inputs, targets), "
            f"or an iterable of batches (a DataLoader), but got {type(inputs).__name__}."
        )
    return inputs


def _length(inputs: Any) -> int:
    tensor = first_tensor(inputs) if not isinstance(inputs, np.ndarray) else inputs
    if tensor is None:  # arrays in a tuple or mapping
        parts = list(inputs.values()) if isinstance(inputs, Mapping) else inputs
        return _length(parts[0])
    if tensor.ndim == 0:
        raise ValueError("`inputs` must have shape [n, …], but got a scalar tensor.")
    return len(tensor)


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


def _cut(inputs: Any, batch_size: int, seed: int) -> Iterable[Any]:
    """Shuffled batches of what lies side by side; none of a single sample is left over."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(_length(inputs), generator=generator, device="cpu")
    cut = list(order.split(batch_size))
    if batch_size > 1 and len(cut) > 1 and len(cut[-1]) == 1:  # batch normalisation refuses it
        cut[-2:] = [torch.cat(cut[-2:])]
    for part in cut:
        batch = chosen(inputs, part)
        alone = isinstance(batch, (tuple, list)) and len(batch) == 1
        yield batch[0] if alone else batch
