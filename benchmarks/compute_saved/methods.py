"""Every method that is compared, from a table, a sampler and a seed to what it would have done."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    SuccessiveHalvingPruner,
    ThresholdPruner,
)

from benchmarks.compute_saved.optuna_replay import Ran, Sampler, SymptomPruner, new_study, replay
from benchmarks.compute_saved.table import Trained
from recent_prune import SaturationRule, TrainabilityRule
from recent_prune.optuna import ReconstructionEntropyPruner
from recent_prune.rules import Rule

Method = Callable[[Trained, Sampler, int, int], list[Ran]]
"""From trainings, sampler, seed and number of trials to what was run, in order."""

CHANCE = 0.15
"""Accuracy below which a threshold pruner stops: ten classes have 0.1 by chance."""

TOP = 3
"""Of 1-Epoch's candidates, how many are trained in full (arXiv 2307.15422)."""

PEERS: dict[str, Callable[[int], BasePruner]] = {
    "none": lambda _: NopPruner(),
    "Median": lambda _: MedianPruner(),
    "SuccessiveHalving": lambda _: SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
    "Hyperband": lambda epochs: HyperbandPruner(1, epochs, 3),
    "NaN or below chance": lambda _: ThresholdPruner(lower=CHANCE),
    "gradient symptoms": lambda _: SymptomPruner(),
}
"""Optuna's pruners, from the epochs of a full training, with an epoch as the first rung."""

OURS = "ours"
ONE_EPOCH = "1-Epoch, top 3"
FIRST_BATCH = "gradient symptoms, first batch"
"""The same bounds, asked after the first batch already."""


def with_ours(method: str) -> str:
    """The name of a method with ours in front of it."""
    return OURS if method == "none" else f"{OURS} + {method}"


def study(
    make: Callable[[int], BasePruner], rule: Rule | None, *, first_batch: bool = False
) -> Method:
    """An Optuna study with a pruner, with ours in front of it if there is a rule."""

    def run(trained: Trained, sampler: Sampler, seed: int, trials: int) -> list[Ran]:
        pruner = make(trained.epochs)
        if rule is not None:
            pruner = ReconstructionEntropyPruner(rule, wrapped_pruner=pruner)
        known = new_study(trained, pruner, sampler, seed)
        return replay(known, trained, trials, first_batch=first_batch)

    return run


def one_epoch(rule: Rule | None) -> Method:
    """An epoch for every candidate, then the rest of the training for the best."""

    def run(trained: Trained, sampler: Sampler, seed: int, trials: int) -> list[Ran]:
        pruner: BasePruner = NopPruner()
        if rule is not None:
            pruner = ReconstructionEntropyPruner(rule)
        ran = replay(new_study(trained, pruner, sampler, seed), trained, trials, epochs=1)
        order = np.argsort([-trained.accuracy[r.index, 0] if r.epochs else 0.0 for r in ran])
        best = [ran[i].index for i in order[:TOP] if ran[i].epochs]
        return ran + [Ran(index, trained.epochs, since=1) for index in best]

    return run


_DEFAULT = TrainabilityRule()

METHODS: dict[str, Method] = {
    **{name: study(make, None) for name, make in PEERS.items()},
    FIRST_BATCH: study(PEERS["gradient symptoms"], None, first_batch=True),
    ONE_EPOCH: one_epoch(None),
    OURS: study(PEERS["none"], _DEFAULT),
    "ours, SaturationRule": study(PEERS["none"], SaturationRule()),
    **{f"{OURS} + {name}": study(make, _DEFAULT) for name, make in PEERS.items() if name != "none"},
    f"{OURS} + {FIRST_BATCH}": study(PEERS["gradient symptoms"], _DEFAULT, first_batch=True),
    f"{OURS} + {ONE_EPOCH}": one_epoch(_DEFAULT),
}
