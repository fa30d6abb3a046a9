"""What a prediction is measured by: the best constant one.

Losses and accuracies mean something only beside what is had for nothing. For classes the best
constant prediction is their shares among the targets; a loss of logits and one of log
probabilities agree on their logarithm. For numbers it is their mean, their median or, of a loss of
logits, the logit of their mean: whichever the loss likes best.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recent_prune.probe.first_steps.training import Loss


class Right(NamedTuple):
    """Share of right answers, NaN where there are no classes, and that of the commonest class."""

    accuracy: float
    chance: float


def class_axis(output: Tensor, target: Any) -> int | None:
    """The axis of the output over which classes compete, or None where there are no classes.

    The second, as ``cross_entropy`` has it, or the last.
    """
    if not isinstance(target, Tensor) or target.is_floating_point() or target.is_complex():
        return None
    if output.dim() != target.dim() + 1 or target.dtype == torch.bool:
        return None
    if len(output) == len(target) and output.shape[2:] == target.shape[1:]:
        return 1
    return output.dim() - 1 if output.shape[:-1] == target.shape else None


def right(pairs: Sequence[tuple[Tensor, Any]]) -> Right:
    """Accuracy over several batches of outputs and targets; targets out of range do not count."""
    hits = counted = 0
    classes: list[Tensor] = []
    for output, target in pairs:
        axis = class_axis(output, target)
        if axis is None:
            return Right(math.nan, math.nan)
        known = (target >= 0) & (target < output.shape[axis])
        hits += int((output.argmax(axis) == target)[known].sum())
        counted += int(known.sum())
        classes.append(target[known].flatten())
    if not counted:
        return Right(math.nan, math.nan)
    most = torch.bincount(torch.cat(classes)).max()
    return Right(hits / counted, float(most) / counted)


def constant_loss(loss: Loss | None, pairs: Sequence[tuple[Tensor, Any]]) -> float:
    """The least mean loss of a constant prediction; NaN where it cannot be known.

    Args:
        loss: Of the trial. None: the model's own, of which only the cross-entropy is known.
        pairs: Outputs [n, …] and targets of several batches.
    """
    best = math.nan
    for candidate in _candidates(pairs):
        if loss is None:
            value = candidate.entropy
        else:
            try:
                losses = [loss(candidate.like(output), target) for output, target in pairs]
                value = math.fsum(map(float, losses)) / len(losses)
            except Exception:  # whatever a loss of somebody's says of a prediction not its model's
                continue
        if math.isfinite(value) and not value >= best:
            best = value
    return best


class _Candidate(NamedTuple):
    """A prediction, broadcast over samples (and positions)."""

    value: Tensor
    entropy: float

    def like(self, output: Tensor) -> Tensor:
        return self.value.to(output.dtype).expand_as(output).contiguous()


def _candidates(pairs: Sequence[tuple[Tensor, Any]]) -> Iterator[_Candidate]:
    axes = {class_axis(output, target) for output, target in pairs}
    if None not in axes:
        yield from _of_classes(pairs)
        return
    if any(not isinstance(t, Tensor) or t.numel() != o.numel() for o, t in pairs):
        return
    if len({output.shape[1:] for output, _ in pairs}) > 1:
        return
    numbers = torch.cat([t.reshape(o.shape).double() for o, t in pairs])
    mean = numbers.mean(dim=0, keepdim=True)
    yield _Candidate(mean, math.nan)
    yield _Candidate(numbers.median(dim=0, keepdim=True).values, math.nan)
    if bool((numbers >= 0).all() and (numbers <= 1).all()):
        yield _Candidate(mean.clamp(1e-6, 1 - 1e-6).logit(), math.nan)


def _of_classes(pairs: Sequence[tuple[Tensor, Any]]) -> Iterator[_Candidate]:
    output, target = pairs[0]
    axis = class_axis(output, target)
    assert axis is not None
    size = output.shape[axis]
    known = torch.cat([t[(t >= 0) & (t < size)].flatten() for _, t in pairs])
    if not known.numel():
        return
    shares = torch.bincount(known, minlength=size).double() / known.numel()
    entropy = float(-torch.xlogy(shares, shares).sum())
    shape = [1] * output.dim()
    shape[axis] = size
    # A class that is not among these few samples is not impossible.
    yield _Candidate(shares.clamp_min(1e-4).log().reshape(shape), entropy)
