"""A sweep over width, depth and batch size in which a third of the trials is too large.

    python -m benchmarks.preflight.sweep

Protocol. ``TRIALS`` configurations are drawn: MLPs for 1,024 inputs with 1 to 8 layers of 128 to
2,048 units, batches of 32 to 2,048 (all log-uniform), Adam. Each is first trained for two steps in
a process of its own that may take what it likes, and its peak of resident memory is measured. The
sweep's limit is the 67th percentile of these peaks, so that a third is too large: that was decided
before anything was run.

Then the sweep is run twice through an Optuna study, one worker process a trial, in which the
limit holds (``RLIMIT_AS``: what is there when the libraries are loaded, and so many bytes more):
without a preflight, and with ``preflight_trial`` before the worker is started. Counted are workers
started for trials that ran out of memory, their seconds, and trials that fit and were not started.
Peaks within ``MARGIN`` of the limit may run out of memory or not: address space is not resident
memory. Writes ``sweep_cpu.csv`` and ``sweep_cpu.md``.
"""

from __future__ import annotations

import math
import multiprocessing
import random
import re
import resource
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import torch
from torch import nn

import recent_prune as rp
from benchmarks.environment import save_environment
from benchmarks.preflight.memory import exact_allocator, peak
from benchmarks.tables import markdown
from recent_prune.optuna import ReconstructionEntropyPruner, preflight_trial

HERE = Path(__file__).parent
TRIALS = 60
INPUTS, CLASSES = 1024, 10
TOO_LARGE = 1 / 3
MARGIN = 0.1


@dataclass(frozen=True)
class Drawn:
    """A configuration of the sweep."""

    width: int
    depth: int
    batch: int

    def build(self) -> nn.Module:
        """The network."""
        return rp.networks.mlp(INPUTS, CLASSES, depth=self.depth, width=self.width)

    def data(self) -> tuple[torch.Tensor, torch.Tensor]:
        """A batch."""
        return torch.zeros(self.batch, INPUTS), torch.zeros(self.batch, dtype=torch.int64)


def drawn(number: int) -> Drawn:
    """The configuration of a trial."""
    draw = random.Random(number)

    def log_uniform(low: int, high: int) -> int:
        return round(math.exp(draw.uniform(math.log(low), math.log(high))))

    return Drawn(log_uniform(128, 2048), log_uniform(1, 8), log_uniform(32, 2048))


def adam(parameters: Any) -> torch.optim.Optimizer:
    """As every trial is trained."""
    return torch.optim.Adam(parameters, 1e-3)


def train(trial: Drawn) -> None:
    """Two steps."""
    x, y = trial.data()
    model = trial.build()
    optimizer = adam(model.parameters())
    for _ in range(2):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()


def worker(trial: Drawn, limit: int | None) -> tuple[bool, float, int]:
    """Whether it ran out of memory, seconds, and its peak in bytes."""
    torch.set_num_threads(1)
    exact_allocator()
    train(Drawn(16, 1, 4))  # what the libraries take
    if limit is not None:
        found = re.search(r"VmSize:\s+(\d+) kB", Path("/proc/self/status").read_text())
        assert found is not None
        most = 1024 * int(found[1]) + limit
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    start, most_held, out = time.perf_counter(), 0, False
    try:
        most_held = peak(partial(train, trial), torch.device("cpu"))
    except (RuntimeError, MemoryError) as error:
        if "allocate memory" not in str(error) and not isinstance(error, MemoryError):
            raise
        out = True
    return out, time.perf_counter() - start, most_held


def sweep(
    limit: int, start: Callable[[Drawn, int], tuple[bool, float, int]], *, ahead: bool
) -> list[dict[str, Any]]:
    """All trials through a study."""
    rows: list[dict[str, Any]] = []

    def objective(trial: optuna.Trial) -> float:
        one = drawn(trial.number)
        row: dict[str, Any] = {**asdict(one), "preflight": ahead, "started": False}
        rows.append(row)
        if ahead:
            begin = time.perf_counter()
            training = rp.Training(nn.functional.cross_entropy, adam)
            limits = rp.Limits(memory=limit)
            data = [one.data()]
            verdict = preflight_trial(trial, one.build, data, training=training, limits=limits)
            row["preflight_s"] = time.perf_counter() - begin
            if trial.should_prune():
                raise optuna.TrialPruned(verdict.reason)
        out, seconds, _ = start(one, limit)
        row |= {"started": True, "out_of_memory": out, "seconds": seconds}
        return 0.0

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(pruner=ReconstructionEntropyPruner())
    study.optimize(objective, n_trials=TRIALS)
    return rows


def table(rows: pd.DataFrame, limit: int) -> pd.DataFrame:
    """With and without, side by side."""
    peaks, counted = rows.loc[~rows.preflight, "peak"].to_numpy(), []
    for ahead in (False, True):
        some = rows[rows.preflight == ahead].reset_index(drop=True)
        lost = some["out_of_memory"].eq(True)
        fits = peaks < limit * (1 - MARGIN)
        counted.append(
            {
                "preflight": "yes" if ahead else "no",
                "trials": len(some),
                "workers started": int(some["started"].sum()),
                "of them out of memory": int(lost.sum()),
                "their seconds": f"{some.loc[lost, 'seconds'].sum():.1f}",
                "fit and were not started": int((fits & ~some["started"]).sum()),
                "seconds of preflights": f"{some.get('preflight_s', pd.Series()).sum():.1f}",
            }
        )
    return pd.DataFrame(counted)


def main() -> None:
    """Measure, choose the limit, run both sweeps and write down."""
    # No forks: fake tensors leave threads behind that autograd would not find in a child.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.preflight.memory", "recent_prune.optuna"])

    def start(trial: Drawn, limit: int | None) -> tuple[bool, float, int]:
        with context.Pool(1) as pool:
            return pool.apply(worker, (trial, limit))

    peaks = [start(drawn(number), None)[2] for number in range(TRIALS)]
    limit = int(pd.Series(peaks).quantile(1 - TOO_LARGE))
    found = [
        {**row, "peak": most}
        for ahead in (False, True)
        for row, most in zip(sweep(limit, start, ahead=ahead), peaks, strict=True)
    ]
    rows = pd.DataFrame(found)
    rows.to_csv(HERE / "sweep_cpu.csv", index=False, float_format="%.4g")
    save_environment(HERE / "sweep_cpu_environment.json")
    text = (
        f"`python -m benchmarks.preflight.sweep`: {TRIALS} trials, limit {limit / 2**20:.0f} MiB, "
        f"the 67th percentile of their measured peaks.\n\n{markdown(table(rows, limit))}\n"
    )
    (HERE / "sweep_cpu.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
