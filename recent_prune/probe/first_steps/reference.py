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
from torch import Tensor, nn

from recent_prune.probe.first_steps.training import Loss

IGNORED = -100
"""Target that PyTorch's cross-entropy passes over."""

REFINED = 20
"""Steps towards the best constant where class shares are not."""

MOST_REFINED = 2**20
"""Outputs for which that is worth its time."""

FLAT = 2e-3
"""Slope at class shares that rounding, and classes nobody has met, explain."""


class Count(NamedTuple):
    """Right answers, and the classes that were asked for, [k]."""

    hits: int
    classes: Tensor


class Right(NamedTuple):
    """Share of right answers, NaN where there are no classes, and that of the commonest class."""

    accuracy: float
    chance: float


def class_axis(output: Tensor, target: Any) -> int | None:
    """The axis of the output over which classes compete, or None where there are no classes.

    The second, as ``cross_entropy`` has it, or the last. One output alone, as of two classes, has
    nothing to compete with.
    """
    if not isinstance(target, Tensor) or target.is_floating_point() or target.is_complex():
        return None
    if output.dim() != target.dim() + 1 or target.dtype == torch.bool:
        return None
    if len(output) == len(target) and output.shape[2:] == target.shape[1:]:
        axis = 1
    elif output.shape[:-1] == target.shape:
        axis = output.dim() - 1
    else:
        return None
    return axis if output.shape[axis] > 1 else None


def counted(output: Tensor, target: Any) -> Count | None:
    """Right answers in a batch, or None where there are no classes.

    Targets out of range, as those to be ignored are, do not count.
    """
    axis = class_axis(output, target)
    if axis is None:
        return None
    known = (target >= 0) & (target < output.shape[axis])
    return Count(int((output.argmax(axis) == target)[known].sum()), target[known].flatten())


def right(counts: Sequence[Count | None]) -> Right:
    """Accuracy over several batches."""
    known = [count for count in counts if count is not None]
    classes = torch.cat([count.classes for count in known]).cpu() if known else torch.empty(0)
    if len(known) < len(counts) or not len(classes):
        return Right(math.nan, math.nan)
    most = int(torch.bincount(classes.long()).max())
    return Right(sum(count.hits for count in known) / len(classes), most / len(classes))


def mismatch(loss: Tensor, output: Tensor, target: Any) -> float:
    """How far from the mean cross-entropy of these a loss of somebody's is, relatively."""
    axis = class_axis(output, target)
    if axis is None:
        return math.inf
    ignored, size = target == IGNORED, output.shape[axis]
    if not bool((ignored | ((target >= 0) & (target < size))).all()) or bool(ignored.all()):
        return math.inf  # on a GPU to ask for the loss of others is fatal
    logits = output.detach().movedim(axis, 1).float()
    own = nn.functional.cross_entropy(logits, target.long(), ignore_index=IGNORED)
    gap = abs(float(own) - float(loss.detach())) / max(abs(float(own)), 1e-12)
    return gap if math.isfinite(gap) else math.inf


def constant_loss(loss: Loss | None, pairs: Sequence[tuple[Tensor, Any]]) -> float:
    """The least mean loss of a constant prediction; NaN where it cannot be known.

    Args:
        loss: Of the trial. None: the mean cross-entropy.
        pairs: Outputs [n, …], of which only shape, type and device count, and targets of several
            batches.
    """
    best, start = math.nan, None
    bottomless = loss is not None and _is_bottomless(loss, pairs)
    for candidate in _candidates(pairs):
        if loss is None:
            return candidate.entropy
        if bottomless and not candidate.normalized:
            continue
        value = _mean(loss, candidate.value, pairs)
        if math.isfinite(value) and not value >= best:
            best, start = value, candidate
    if loss is None or start is None or start.axis is None:
        return best
    return min(best, _refined(loss, start.value, start.axis, pairs))


class _Candidate(NamedTuple):
    """A prediction, broadcast over samples (and positions); of classes, log-probabilities."""

    value: Tensor
    entropy: float = math.nan
    axis: int | None = None
    normalized: bool = False


def _is_bottomless(loss: Loss, pairs: Sequence[tuple[Tensor, Any]]) -> bool:
    """Whether a loss falls without end with the outputs, as one of log-probabilities does."""
    none, *far = (_mean(loss, torch.tensor(value), pairs) for value in (0.0, 1e3, -1e3))
    return any(value < min(none, 0.0) for value in far)


def _mean(loss: Loss, value: Tensor, pairs: Sequence[tuple[Tensor, Any]]) -> float:
    try:
        return float(_mean_loss(loss, value, pairs))
    except Exception:  # whatever a loss of somebody's says of a prediction not its model's
        return math.nan


def _mean_loss(loss: Loss, value: Tensor, pairs: Sequence[tuple[Tensor, Any]]) -> Tensor:
    losses = [loss(value.to(o).expand_as(o).contiguous(), target) for o, target in pairs]
    return torch.stack(losses).mean()


def _refined(loss: Loss, start: Tensor, axis: int, pairs: Sequence[tuple[Tensor, Any]]) -> float:
    """A better one, where shares are not the best: classes have weights, or labels are smoothed."""
    free = start.float().requires_grad_()
    optimizer = torch.optim.LBFGS([free], max_iter=REFINED, line_search_fn="strong_wolfe")
    values: list[float] = []

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = _mean_loss(loss, free.log_softmax(axis), pairs)
        # Not backward: a loss may have parameters of its own.
        free.grad = torch.autograd.grad(value, free)[0]
        values.append(float(value.detach()))
        return value

    if sum(output.numel() for output, _ in pairs) > MOST_REFINED:
        return math.inf
    try:
        with torch.enable_grad():
            slope = torch.autograd.grad(_mean_loss(loss, free.log_softmax(axis), pairs), free)[0]
            if float(slope.abs().max()) > FLAT:
                optimizer.step(closure)
    except Exception:
        pass
    return min(filter(math.isfinite, values), default=math.inf)


def _candidates(pairs: Sequence[tuple[Tensor, Any]]) -> Iterator[_Candidate]:
    axes = {class_axis(output, target) for output, target in pairs}
    if None not in axes:
        yield from _of_classes(pairs)
        return
    if any(not isinstance(t, Tensor) or t.numel() != o.numel() for o, t in pairs):
        return
    if len({output.shape[1:] for output, _ in pairs}) > 1:
        return
    numbers = torch.cat([t.reshape(o.shape).cpu().double() for o, t in pairs])
    mean = numbers.mean(dim=0, keepdim=True)
    yield _Candidate(mean)
    yield _Candidate(numbers.sort(dim=0).values[[(len(numbers) - 1) // 2]])
    if bool((numbers >= 0).all() and (numbers <= 1).all()):
        yield _Candidate(mean.clamp(1e-6, 1 - 1e-6).logit())
        # Of classes with probabilities.
        whole = mean.dim() > 1 and bool(((mean.sum(dim=1) - 1).abs() < 1e-4).all())
        yield _Candidate(mean.clamp_min(1e-6).log(), normalized=whole)


def _of_classes(pairs: Sequence[tuple[Tensor, Any]]) -> Iterator[_Candidate]:
    output, target = pairs[0]
    axis = class_axis(output, target)
    assert axis is not None
    size = output.shape[axis]
    known = torch.cat([t[(t >= 0) & (t < size)].flatten() for _, t in pairs]).cpu()
    if not known.numel():
        return
    shares = torch.bincount(known.long(), minlength=size).double() / known.numel()
    entropy = float(-torch.xlogy(shares, shares).sum())
    shape = [1] * output.dim()
    shape[axis] = size
    # A class that is not among these few samples is not impossible.
    likely = shares.clamp_min(1e-4)
    yield _Candidate((likely / likely.sum()).log().reshape(shape), entropy, axis, True)
