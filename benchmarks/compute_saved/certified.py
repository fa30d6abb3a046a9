"""The certified rule, calibrated on one part of a table and replayed on the other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from optuna.pruners import NopPruner

from benchmarks.compute_saved.optuna_replay import new_study, replay
from benchmarks.compute_saved.outcome import outcome
from benchmarks.compute_saved.table import Trained
from recent_prune import CertifiedRule
from recent_prune.optuna import ReconstructionEntropyPruner, audit, calibrated

TOLERANCE = 0.1
GOOD = 0.1
"""What comes within this of the best of the table must not be lost."""
EARLIER = 2 / 3
"""Share of the table that the rule is calibrated on."""


def certified_run(trained: Trained, seed: int) -> dict[str, Any]:
    """Whether it could be calibrated, and what it then saved in a study of the rest."""
    order = np.random.default_rng(seed).permutation(len(trained))
    first = np.isin(np.arange(len(trained)), order[: round(EARLIER * len(trained))])
    earlier, later = trained.subset(first, "earlier"), trained.subset(~first, "later")
    rule = CertifiedRule(better_than=earlier.final.max() - GOOD, max_false_prune_rate=TOLERANCE)
    # One that tolerates next to nothing goes on watching.
    watches = ReconstructionEntropyPruner(replace(rule, max_false_prune_rate=1e-4))
    watching = new_study(earlier, watches, "random", seed)
    replay(watching, earlier, len(earlier))
    try:
        fitted = calibrated(rule, watching)
    except ValueError as error:
        return {"calibrated": False, "why": str(error)}
    pruner = ReconstructionEntropyPruner(fitted)
    study = new_study(later, pruner, "random", seed)
    pruned = replay(study, later, len(later))
    whole = replay(new_study(later, NopPruner(), "random", seed), later, len(later))
    ours, none = outcome(later, pruned), outcome(later, whole)
    good = later.final > earlier.final.max() - GOOD
    lost = [r.index for r in pruned if r.condemned and good[r.index]]
    return {
        "calibrated": True,
        "trials": len(later),
        "good": int(good.sum()),
        "lost": len(lost),
        "pruned": ours.condemned,
        "total_flops": ours.total["flops"] / none.total["flops"],
        "best": ours.best - none.best,
        "audited": int(audit(study).over_time["audited"].iloc[-1]),
    }
