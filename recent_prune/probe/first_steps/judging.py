"""What a model says of samples: loss, accuracy, and how its outputs differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from recent_prune.probe.first_steps.objective import Objective
from recent_prune.probe.first_steps.reference import Right, constant_loss, right
from recent_prune.probe.first_steps.training import Loss
from recent_prune.probe.restoring.isolation import isolated

MOST_OUTPUTS = 2**14
"""Outputs of a sample that are compared; of more, evenly spaced ones."""


@dataclass(frozen=True)
class Judged:
    """What a model says of samples.

    Attributes:
        loss: Mean over the batches.
        right: Share of right classes, and that of the commonest.
        outputs: [n, d] on the model's device, float32, or None where there are none.
        constant: Loss of the best constant prediction.
    """

    loss: float
    right: Right
    outputs: Tensor | None
    constant: float

    @property
    def spread(self) -> float:
        """Root mean square deviation of the outputs over samples; NaN where there are none."""
        if self.outputs is None or len(self.outputs) < 2:
            return math.nan
        return _rms(self.outputs - self.outputs.mean(dim=0))


def judged(
    model: nn.Module, batches: Sequence[Any], ask: Objective, loss: Loss | None, seed: int
) -> Judged:
    """Ask a model for its loss and outputs of all batches, in probing mode.

    Args:
        model: It comes back as it was.
        batches: As the loader yields them.
        ask: See `objective`.
        loss: Of the trial.
        seed: Of everything random.
    """
    with isolated(model, seed):
        answers = [ask(model, batch) for batch in batches]
        pairs = [(a.output, a.target) for a in answers if a.output is not None]
        losses = torch.stack([a.loss.detach().double().cpu() for a in answers])
        return Judged(
            float(losses.mean()),
            right(pairs),
            _joined([output for output, _ in pairs]),
            constant_loss(loss, pairs) if pairs else math.nan,
        )


def repeatable(model: nn.Module, batch: Any, ask: Objective, seed: int) -> bool:
    """Whether a model says the same twice, random numbers equal, to the last bit.

    What differs is the model's own: a counter, a generator of its own, the clock.
    """
    found = []
    for _ in range(2):
        with isolated(model, seed):
            answer = ask(model, batch)
            found.append([t for t in (answer.loss, answer.output) if t is not None])
    first, second = found
    return len(first) == len(second) and all(
        a.shape == b.shape and bool(((a == b) | (a.isnan() & b.isnan())).all())
        for a, b in zip(first, second, strict=True)
    )


def output_change(before: Judged, after: Judged) -> float:
    """Root mean square change of the outputs of the same samples; NaN where there are none."""
    a, b = before.outputs, after.outputs
    return math.nan if a is None or b is None or a.shape != b.shape else _rms(b - a)


def _joined(outputs: Sequence[Tensor]) -> Tensor | None:
    rows = [output.detach().flatten(1) for output in outputs if output.dim() > 1]
    rows += [output.detach()[:, None] for output in outputs if output.dim() == 1]
    if not rows or len({row.shape[1] for row in rows}) > 1:
        return None
    stride = -(-rows[0].shape[1] // MOST_OUTPUTS)
    return torch.cat([row[:, ::stride].float() for row in rows])


def _rms(values: Tensor) -> float:
    return float(torch.linalg.vector_norm(values.double()) / math.sqrt(max(values.numel(), 1)))
