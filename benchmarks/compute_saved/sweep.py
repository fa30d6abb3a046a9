"""One sweep, trial by trial: what was trained, what was not, and what it would have come to.

    python -m benchmarks.compute_saved.sweep   # seconds

Protocol: the first of the runs of `rung_zero` in the everyday space (seed 0, 160 candidates, random
search, ``keep=1/8``), replayed through the real Optuna. All configurations were really trained, so
that the end of those that the sweep did not train is known as well. No run was chosen for what it
found.

Writes ``everyday_sweep.csv``, a row a candidate, and ``everyday_sweep_environment.json``.
"""

from __future__ import annotations

import logging
from pathlib import Path

import optuna
import pandas as pd
import typer
from optuna.trial import FrozenTrial

from benchmarks.compute_saved.optuna_replay import Ran, new_study, replay
from benchmarks.compute_saved.rung_zero import CANDIDATES
from benchmarks.compute_saved.table import Trained, load
from benchmarks.environment import save_environment
from recent_prune.optuna import ReconstructionEntropyPruner, attributes

FOLDER = Path(__file__).parent
SPACE = "everyday"
KEEP = 1 / 8
TRAINED, EXPLORED, CONDEMNED, BEHIND = "trained", "explored", "condemned", "ranked behind"
SHOWN = ("family", "optimizer", "learning_rate")


def rows(trained: Trained, candidates: int = CANDIDATES, seed: int = 0) -> pd.DataFrame:
    """What became of each candidate of a sweep, in order.

    Columns: ``candidate``; `SHOWN`; ``outcome``; ``accuracy`` at the end of its training, whether
    the sweep trained it or not; ``training_flops``, likewise; ``probe_flops``.
    """
    study = new_study(trained, ReconstructionEntropyPruner(keep=KEEP), "random", seed)
    ran = replay(study, trained, candidates)
    found = []
    for number, (trial, done) in enumerate(zip(study.trials, ran, strict=True)):
        found.append(
            {"candidate": number}
            | {name: trained.parameters[done.index][name] for name in SHOWN}
            | {
                "outcome": _outcome(trial, done),
                "accuracy": trained.final[done.index],
                "training_flops": trained.flops[done.index, -1],
                "probe_flops": trained.probe_flops[done.index],
            }
        )
    return pd.DataFrame(found)


def _outcome(trial: FrozenTrial, done: Ran) -> str:
    if done.epochs:
        explored = trial.user_attrs[attributes.RUNG_ZERO]["explored"]
        return EXPLORED if explored else TRAINED
    return BEHIND if trial.user_attrs[attributes.TRAINABLE] else CONDEMNED


def main() -> None:
    """Replay it and write it down."""
    optuna.logging.set_verbosity(logging.ERROR)
    rows(load(SPACE)).to_csv(FOLDER / f"{SPACE}_sweep.csv", index=False, float_format="%.6g")
    save_environment(FOLDER / f"{SPACE}_sweep_environment.json")


if __name__ == "__main__":
    typer.run(main)
