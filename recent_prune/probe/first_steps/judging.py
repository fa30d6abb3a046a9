"""What a model says of samples: loss, accuracy, and how its outputs differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from recent_prune.probe.batches.raising import raising
from recent_prune.probe.first_steps.objective import Answer, Objective, in_place_of
from recent_prune.probe.first_steps.reference import (
    Count,
    Right,
    constant_loss,
    counted,
    mismatch,
    right,
)
from recent_prune.probe.first_steps.training import Loss
from recent_prune.probe.restoring.devices import solvable
from recent_prune.probe.restoring.isolation import run_isolated, set_to_train
from recent_prune.probe.restoring.memory import is_out_of_memory

MOST_OUTPUTS = 2**14
"""Outputs of a sample that are compared; of more, evenly spaced ones."""

MATCHED = 1e-3
"""Relative difference, by rounding, of a model's own loss from the cross-entropy that it is."""


@dataclass(frozen=True)
class Judged:
    """What a model says of samples.

    Attributes:
        loss: Mean over the batches.
        first_loss: Of the first batch, [].
        right: Share of right classes, and that of the commonest.
        outputs: [n, d] on the model's device, float32, or None where there are none.
        constant: Loss of the best constant prediction; NaN where it is not known.
        in_training: Whether it said so in training mode, since it has no loss in any other.
    """

    loss: float
    first_loss: Tensor
    right: Right
    outputs: Tensor | None
    constant: float
    in_training: bool = False

    @property
    def spread(self) -> float:
        """Root mean square deviation of the outputs over samples; NaN where there are none."""
        if self.outputs is None or len(self.outputs) < 2:
            return math.nan
        return _rms(self.outputs - self.outputs.mean(dim=0))


def judged(
    model: nn.Module,
    batches: Sequence[Any],
    ask: Objective,
    loss: Loss | None,
    seed: int,
    when: str = "the probe",
    reference: bool = True,
) -> Judged:
    """Ask a model for its loss and outputs of all batches, in probing mode.

    Args:
        model: It comes back as it was.
        batches: As the loader yields them.
        ask: See `objective`.
        loss: Of the trial.
        seed: Of everything random.
        when: Said of an error.
        reference: Whether the constant prediction is asked for.
    """

    def run(in_training: bool) -> Judged:
        losses: list[Tensor] = []
        counts: list[Count | None] = []
        rows: list[Tensor] = []
        shapes: list[tuple[Tensor, Any]] = []
        if in_training:
            set_to_train(model)
        for number, batch in enumerate(batches, start=1):
            with raising(f"{when}, in batch {number} of {len(batches)} that it is judged by"):
                answer = ask(model, batch)
            losses.append(answer.loss.detach())
            if answer.output is None:
                continue
            # Of the outputs only this is kept: all together may be larger than a training step.
            rows.append(_row(answer.output))
            pair, understood = _pair(answer, loss)
            counts.append(None if pair is None else counted(*pair))
            if pair is not None and understood:
                shapes.append((_shape_of(pair[0]), pair[1]))
        known = reference and len(shapes) == len(losses)
        return Judged(
            float(torch.stack(losses).cpu().double().mean()),
            losses[0],
            right(counts),
            _joined(rows),
            constant_loss(_formed(loss, answer), shapes) if known else math.nan,
            in_training,
        )

    try:
        return run_isolated(model, seed, partial(run, False))
    except Exception as error:
        # Detectors, for one, have a loss in training mode only.
        if loss is not None or not model.training or is_out_of_memory(error):
            raise
        try:
            return run_isolated(model, seed, partial(run, True))
        except Exception:
            pass
        raise


def _pair(answer: Answer, loss: Loss | None) -> tuple[tuple[Tensor, Any] | None, bool]:
    """Output and target that belong together, and whether the loss is a known one of them.

    A model that returns its own loss may have moved its labels by one, as language models do.
    """
    output, target = answer.output, answer.target
    assert output is not None
    if loss is not None:
        return (output, target), True
    found = [(output, target)]
    if output.dim() == 3 and isinstance(target, Tensor) and output.shape[:2] == target.shape:
        found.append((output[:, :-1], target[:, 1:]))
    gaps = [mismatch(answer.loss, *pair) for pair in found]
    least = min(gaps)
    if least <= MATCHED:
        return found[gaps.index(least)], True
    return (found[0] if output.dim() == 2 else None), False


def _formed(loss: Loss | None, answer: Answer) -> Loss | None:
    """The loss of predictions alone, which it may get in a mapping or a tuple."""
    if loss is None or answer.form is None or answer.output is None:
        return loss
    # Of the output only the form is kept, not its numbers.
    place = answer.output.new_zeros(0)
    form = answer.form(place)
    return lambda predictions, target: loss(in_place_of(place, form, predictions), target)


def _shape_of(output: Tensor) -> Tensor:
    """A tensor of this shape, type and device that takes no memory."""
    return output.new_zeros(()).expand(output.shape)


def repeatable(model: nn.Module, batch: Any, ask: Objective, seed: int, was: Judged) -> bool:
    """Whether a model says the same twice, random numbers equal, to the last bit.

    What differs is the model's own: a counter, a generator of its own, the clock.

    Args:
        model: It comes back as it was.
        batch: The first that it was judged by.
        ask: As it was judged.
        seed: Likewise.
        was: What it said.
    """

    def run() -> bool:
        if was.in_training:
            set_to_train(model)
        answer = ask(model, batch)
        pairs = [(answer.loss, was.first_loss)]
        if answer.output is not None and was.outputs is not None:
            pairs.append((_row(answer.output), was.outputs[: len(answer.output)]))
        return all(
            a.shape == b.shape and bool(((a == b) | (a.isnan() & b.isnan())).all())
            for a, b in pairs
        )

    return run_isolated(model, seed, run)


def output_change(before: Judged, after: Judged) -> float:
    """Root mean square change of the outputs of the same samples; NaN where there are none."""
    a, b = before.outputs, after.outputs
    return math.nan if a is None or b is None or a.shape != b.shape else _rms(b - a)


def _row(output: Tensor) -> Tensor:
    """Some numbers of each sample, [n, d], float32."""
    flat = output.detach().reshape(len(output), -1)
    stride = max(-(-flat.shape[1] // MOST_OUTPUTS), 1)
    # A copy, or a view would hold the whole.
    return flat[:, ::stride].to(torch.float32, copy=True)


def _joined(rows: Sequence[Tensor]) -> Tensor | None:
    if not rows or len({row.shape[1] for row in rows}) > 1:
        return None
    return torch.cat(list(rows))


def _rms(values: Tensor) -> float:
    values = solvable(values).double()
    return float(torch.linalg.vector_norm(values) / math.sqrt(max(values.numel(), 1)))
