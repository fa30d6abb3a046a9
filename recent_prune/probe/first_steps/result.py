"""What the first steps show, in plain numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from recent_prune.probe.quantities.comparing import are_same, hash_of


@dataclass(frozen=True)
class FirstSteps:
    """The first updates of a trial, before which and after which it was judged.

    Losses are those of the trial, in its own units; what is *judged* are samples that it was not
    trained on, where the loader has enough, in evaluation mode. NaN is what could not be known.

    Attributes:
        made: Updates.
        budget: Of the full training, steps; None where unknown.
        learning_rate: The largest of the parameter groups, at which the steps were made.
        losses: Of each step's batch before its update.
        gradient_norms: Of each step, over all parameters, before clipping.
        weight_norm: Of the parameters that train, before the steps.
        first_update: Norm of the first update.
        update: Norm of all updates together, last parameters less first.
        update_ratios: Of each layer's weights, in the order of ``gradients.layers``: root mean
            square of all updates over that of the weights, infinite where those were zero.
        first_order: How much of the first loss its gradient promises for the first update,
            −⟨gradient, update⟩, in units of the loss.
        unreached: Share of the parameters that train to which no gradient came in the first step.
        constant_loss: Of the best constant prediction of the judged samples.
        loss_before: Of the judged samples.
        loss_after: Likewise.
        accuracy_before: Share of right classes.
        accuracy_after: Likewise.
        chance: Share of the commonest class.
        output_spread_before: Root mean square deviation of the outputs over samples.
        output_spread_after: Likewise.
        output_change: Root mean square change of the outputs of the same samples.
        repeatable: Whether the model gave the same twice before the steps, to the last bit.
        nonfinite_step: Number of the first step, from 1 on, whose loss, gradient or outcome is not
            finite, or None.
        critical_rate: The least learning rate at which the first update no longer lowers the loss
            of its batch; None where the steps took away more than 2 % of the loss, so that nobody
            asked, where several processes train together, or where it is not known. For advice,
            never for a verdict.
        slow_start: Whether the optimizer has a warm-up of its own (RAdam, Prodigy, schedule-free
            ones with `warmup_steps`), so that its first steps say nothing of its later ones.
        step_seconds: Wall-clock time of each step after the first, which warms up, without the
            loader's.
        loading_seconds: That the loader took for the batches of a step, median of those after the
            first batch.
        seconds: Wall-clock time of the steps and their judging, without the probe.
    """

    made: int
    budget: int | None
    learning_rate: float
    losses: tuple[float, ...]
    gradient_norms: tuple[float, ...]
    weight_norm: float
    first_update: float
    update: float
    update_ratios: tuple[float, ...]
    first_order: float
    unreached: float
    constant_loss: float
    loss_before: float
    loss_after: float
    accuracy_before: float
    accuracy_after: float
    chance: float
    output_spread_before: float
    output_spread_after: float
    output_change: float
    repeatable: bool = True
    nonfinite_step: int | None = None
    critical_rate: float | None = None
    slow_start: bool = False
    step_seconds: tuple[float, ...] = field(default=(), compare=False)
    loading_seconds: float = field(default=math.nan, compare=False)
    seconds: float = field(default=0.0, compare=False)

    def __eq__(self, other: object) -> bool:
        """Whether all that was found is the same; NaN is NaN."""
        return are_same(self, other)

    __hash__ = hash_of
