"""What a run cost and what it found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.compute_saved.optuna_replay import Ran
from benchmarks.compute_saved.table import Array, Trained

CLOSE = 0.005
"""Accuracy by which a run may miss another's best value and still have reached the same quality."""

UNITS = ("flops", "seconds")


@dataclass(frozen=True)
class Outcome:
    """Of one run of a method.

    Attributes:
        best: Best last accuracy of a trial, the stopped ones included.
        regret: Best final accuracy of the table minus ``best``.
        rank: Of the configuration that ``best`` belongs to, by its final accuracy, among all of the
            table; 1 is the best.
        condemned: Trials that the probe ended.
        good_condemned: Good configurations among these.
        good_lost: Good configurations that did not run to their end, whoever stopped them.
        late_lost: Late trainers that did not run to their end.
        late: Late trainers that were drawn.
        total: Cost of all trials, probes included, in operations and in seconds.
        first: Likewise, of their first epochs and probes.
    """

    best: float
    regret: float
    rank: int
    condemned: int
    good_condemned: int
    good_lost: int
    late_lost: int
    late: int
    total: dict[str, float]
    first: dict[str, float]


def costs(trained: Trained, ran: Sequence[Ran], unit: str, epochs: int | None = None) -> Array:
    """Of each trial, probe and a batch that ended it included.

    Args:
        trained: The trainings.
        ran: What was run of them.
        unit: ``"flops"`` or ``"seconds"``.
        epochs: Count only so many of each trial.
    """
    names = (unit, f"probe_{unit}", f"first_{unit}")
    curves, probes, batches = (getattr(trained, name) for name in names)
    found = np.zeros(len(ran))
    for i, trial in enumerate(ran):
        counted = min(trial.epochs, epochs or trial.epochs)
        found[i] = curves[trial.index, counted - 1] if counted > trial.since else 0.0
        found[i] -= curves[trial.index, trial.since - 1] if counted > trial.since > 0 else 0.0
        found[i] += probes[trial.index] if trial.probed else 0.0
        found[i] += batches[trial.index] if trial.first_batch else 0.0
    return found


def values(trained: Trained, ran: Sequence[Ran]) -> Array:
    """Last accuracy of each trial, 0 where none was seen."""
    return np.asarray([trained.accuracy[r.index, r.epochs - 1] if r.epochs else 0.0 for r in ran])


def cost_to(trained: Trained, ran: Sequence[Ran], unit: str, target: float) -> float:
    """Cost until a trial has reached a value; infinite where none does."""
    reached = np.flatnonzero(values(trained, ran) >= target)
    return float(costs(trained, ran, unit)[: reached[0] + 1].sum()) if len(reached) else np.inf


def outcome(trained: Trained, ran: Sequence[Ran]) -> Outcome:
    """Of a run."""
    index = np.asarray(sorted({r.index for r in ran}))
    ended = {r.index for r in ran if r.epochs == trained.epochs}
    whole = np.isin(index, list(ended))
    condemned = np.isin(index, [r.index for r in ran if r.condemned])
    good, late = trained.good[index], trained.late[index]
    reached = values(trained, ran)
    found = ran[int(reached.argmax())].index
    return Outcome(
        best=float(reached.max()),
        regret=float(trained.final.max() - reached.max()),
        rank=int((trained.final > trained.final[found]).sum()) + 1,
        condemned=int(condemned.sum()),
        good_condemned=int((condemned & good).sum()),
        good_lost=int((~whole & good).sum()),
        late_lost=int((~whole & late).sum()),
        late=int(late.sum()),
        total={unit: float(costs(trained, ran, unit).sum()) for unit in UNITS},
        first={unit: float(costs(trained, ran, unit, 1).sum()) for unit in UNITS},
    )
