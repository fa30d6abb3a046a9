"""What the gate saves: the same trials with it and without.

    python -m benchmarks.ray_gate.measure

Protocol. 0, 30, 60 and 90 % of the trials are doomed, at places drawn once.

- *Simulated*: 1,000 trials on 20 slots by Tune's own controller, schedulers and searcher; only
  workers and probes are on virtual time (a worker starts in 4 s, nine epochs of 10 s, 0.1 s a
  probe in one actor that starts in 4 s as well). The driver's CPU time is real.
- *Real*: a local Ray with two slots, each a CPU and a logical GPU. A trial starts a worker, builds
  its network and sleeps for ``--train-s`` in place of training; the probes are real. Without the
  gate a run does not depend on who is doomed, so each round has one, and one with the gate for each
  share, in turns of order; ratios are taken within a round, and medians reported. A first short run
  of each is warm-up. What trials hold is integrated ten times a second.

Writes ``runs.csv`` and ``results.md`` with the environment.
"""

from __future__ import annotations

import argparse
import logging
import platform
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import ray
import torch

from benchmarks.ray_gate import real, simulated
from benchmarks.ray_gate.row import Row
from benchmarks.tables import markdown

FOLDER = Path(__file__).parent
SHARES = (0.0, 0.3, 0.6, 0.9)


def simulated_rows(trials: int) -> list[Row]:
    """All simulated runs."""
    rows = []
    for scheduler in simulated.SCHEDULERS:
        for doomed in SHARES:
            for gated in (False, True):
                rows.append(simulated.run(scheduler, gated, doomed, trials))
                print(rows[-1], flush=True)
    return rows


def real_rows(trials: int, train_s: float, rounds: int) -> list[Row]:
    """All real runs."""
    for gated in (False, True):
        real.run(gated, 0.5, 2, 0.5, -1)
    rows = []
    for number in range(rounds):
        arms = [(False, 0.0), *((True, doomed) for doomed in SHARES)]
        for gated, doomed in arms if number % 2 == 0 else reversed(arms):
            rows.append(real.run(gated, doomed, trials, train_s, number))
            print(rows[-1], flush=True)
    return rows


def table(runs: pd.DataFrame) -> pd.DataFrame:
    """Each quantity with the gate, and its ratio to that without, medians over rounds."""
    keys = ["kind", "scheduler", "doomed"]
    quantities = ["wall_s", "worker_starts", "worker_s", "gpu_s", "driver_cpu_s"]
    rows = []
    for key, gated in runs[runs["gated"]].groupby(keys, sort=False):
        kind, scheduler, doomed = key
        alone = runs[~runs["gated"] & (runs["kind"] == kind) & (runs["scheduler"] == scheduler)]
        if kind == "simulated":
            alone = alone[alone["doomed"] == doomed]
        pairs = gated.merge(alone, on="round", suffixes=("", "_alone"))
        row: dict[str, str] = {
            "": f"{kind}, {scheduler}, {pairs['trials'].iloc[0]} trials",
            "doomed": f"{doomed:.0%}",
        }
        for quantity in quantities:
            ratio = (pairs[quantity] / pairs[f"{quantity}_alone"]).median()
            row[quantity] = (
                f"{pairs[f'{quantity}_alone'].median():,.0f} → {pairs[quantity].median():,.0f} "
                f"({ratio - 1:+.1%})"
            )
        row["probes_s"] = f"{pairs['probe_s'].median():,.0f}"
        row["best"] = f"{pairs['best_alone'].median():.3f} → {pairs['best'].median():.3f}"
        rows.append(row)
    return pd.DataFrame(rows)


def main() -> None:
    """Measure and write down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", choices=["simulated", "real"])
    parser.add_argument("--simulated-trials", type=int, default=1000)
    parser.add_argument("--real-trials", type=int, default=16)
    parser.add_argument("--train-s", type=float, default=15.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=FOLDER)
    options = parser.parse_args()
    ray.init(
        num_cpus=2,
        num_gpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    rows: list[Row] = []
    if options.only != "real":
        rows += simulated_rows(options.simulated_trials)
    if options.only != "simulated":
        rows += real_rows(options.real_trials, options.train_s, options.rounds)
    ray.shutdown()
    file = options.out / "runs.csv"
    runs = pd.DataFrame([asdict(row) for row in rows])
    if options.only is not None and file.exists():
        known = pd.read_csv(file)
        runs = pd.concat([known[known["kind"] != options.only], runs], ignore_index=True)
    runs.sort_values("kind", ascending=False, kind="stable").to_csv(file, index=False)
    environment = (
        f"Python {platform.python_version()}, Ray {ray.__version__}, PyTorch {torch.__version__}, "
        f"{platform.platform()}, {torch.get_num_threads()} cores"
    )
    text = f"{environment}\n\nWithout the gate → with it (median change).\n\n"
    (options.out / "results.md").write_text(text + markdown(table(pd.read_csv(file))) + "\n")
    print(markdown(table(runs)))


if __name__ == "__main__":
    main()
