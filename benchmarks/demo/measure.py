"""What ``recent-prune demo`` brings: the same study, its table kept.

    python -m benchmarks.demo.measure   # a minute or two on two cores

Protocol: the demo's own two studies with its default settings (30 trials on handwritten digits, 15
epochs, random search, seed 0), in memory: once with the pruner, then the same trials
from the same initializations without it. Counts and accuracies repeat from machine to machine as
far as PyTorch's arithmetic does; seconds are those of the machine as it was.

Writes ``results.md`` and ``environment.json``.
"""

from __future__ import annotations

from pathlib import Path

import optuna
import typer

from benchmarks.environment import save_environment
from benchmarks.tables import markdown
from recent_prune import demo
from recent_prune.data import load_digits

FOLDER = Path(__file__).parent
TRIALS = 30
SETTINGS = demo.Settings("digits", 1438, epochs=15, sampler="random", seed=0)


def main() -> None:
    """Run both studies and write the table that the demo prints."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    images = load_digits()
    storage = optuna.storages.InMemoryStorage()
    demo.warm_up(images)
    study = demo.run_pruned(storage, "with", SETTINGS, images, TRIALS, _told)
    reference = demo.run_reference(storage, "without", SETTINGS, images, study, _told)
    table = demo.summary_table(study, reference).rename_axis("").reset_index()
    (FOLDER / "results.md").write_text(markdown(table) + "\n", encoding="utf-8")
    save_environment(FOLDER / "environment.json")


def _told(study: optuna.Study) -> None:
    finished = sum(trial.state.is_finished() for trial in study.trials)
    print(f"{study.study_name} recent_prune: {finished} of {TRIALS}", flush=True)


if __name__ == "__main__":
    typer.run(main)
