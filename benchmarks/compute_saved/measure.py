"""Replay every method on the tables, through the real Optuna and Ray Tune, and compare.

    python -m benchmarks.compute_saved.measure   # a quarter of an hour on two cores

Protocol: a seed fixes the order in which configurations are drawn, or TPE's random numbers, and
every method is run with every seed on the same table; ratios and differences are paired by seed.
With random search each method sees the same configurations in the same order. A run's **best** is
the best last accuracy that any of its trials reported, stopped ones included. Rungs begin after an
epoch and grow by a factor of three. Intervals: 95 %, bootstrap over seeds (percentile), so they
speak of other draws from the same table, not of other tables. Seconds of Tune's methods include
those to start workers (``START_S`` each, as ``benchmarks/ray_gate`` measured), the probe actor
among them; every epoch lasts equally long on Tune's clock.

Writes ``runs.csv`` (a row a run), ``results.md`` and the pictures.
"""

from __future__ import annotations

import logging
import platform
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import optuna
import pandas as pd
import ray
import typer
from rich.progress import track

from benchmarks.compute_saved import report, tune_replay
from benchmarks.compute_saved.certified import certified_run
from benchmarks.compute_saved.methods import METHODS, OURS
from benchmarks.compute_saved.optuna_replay import Ran, Sampler
from benchmarks.compute_saved.outcome import CLOSE, UNITS, cost_to, outcome
from benchmarks.compute_saved.spaces import SPACES
from benchmarks.compute_saved.table import Trained, load
from recent_prune import TrainabilityRule
from tests.ray.simulated_actors import START_S

FOLDER = Path(__file__).parent
SEEDS = 20
PLAIN = "wild_mnist, plain"
"""The networks of ``wild_mnist`` without norm and skips."""
TRIALS = {"wild_mnist": 100, "wild_cifar10": 30}
FEWER_TRIALS = 50
"""Of the other spaces, so that none is exhausted."""
TUNE_CASES: tuple[tuple[str, Sampler], ...] = (
    ("wild_mnist", "random"),
    ("wild_mnist", "tpe"),
    ("slow", "random"),
    ("benign", "random"),
)
"""With `FEWER_TRIALS` each: a run takes seconds."""
SAMPLERS: tuple[Sampler, ...] = ("random", "tpe")

Task = tuple[str, Sampler, int]


@cache
def table(name: str) -> Trained:
    """Of a space, or of the plain networks."""
    if name != PLAIN:
        return load(name)
    whole = load("wild_mnist")
    plain = np.asarray([p["norm"] == "none" and not p["skip"] for p in whole.parameters])
    return whole.subset(plain, PLAIN)


def with_optuna(task: Task) -> list[dict[str, Any]]:
    """A row for each of Optuna's methods."""
    name, sampler, seed = task
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    trained, trials = table(name), TRIALS.get(name, FEWER_TRIALS)
    runs = {method: run(trained, sampler, seed, trials) for method, run in METHODS.items()}
    return _rows(task, trained, runs)


def with_tune(task: Task) -> list[dict[str, Any]]:
    """A row for each of Tune's methods."""
    name, sampler, seed = task
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    trained = table(name)
    runs: dict[str, list[Ran]] = {}
    starts: dict[str, int] = {}
    with _tune():
        for scheduler, make in tune_replay.SCHEDULERS.items():
            for prefix, rule in (("", None), (f"{OURS} + ", TrainabilityRule())):
                method = f"{prefix}{scheduler}{report.TUNE}"
                runs[method], workers = tune_replay.replay(
                    trained, make(trained.epochs), rule, sampler, seed, FEWER_TRIALS
                )
                starts[method] = workers + (rule is not None)  # the probe actor's
    return _rows(task, trained, runs, starts)


def with_certificate(seed: int) -> dict[str, Any]:
    """A run of the certified rule, calibrated on other configurations of the same space."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return {"seed": seed, **certified_run(table("wild_mnist"), seed)}


@contextmanager
def _tune() -> Iterator[None]:
    # One for all runs of a process: to start it takes seconds.
    if not ray.is_initialized():
        ray.init(
            "local",
            num_cpus=1,
            log_to_driver=False,
            logging_level=logging.ERROR,
            include_dashboard=False,
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _rows(
    task: Task,
    trained: Trained,
    runs: dict[str, list[Ran]],
    starts: dict[str, int] | None = None,
) -> list[dict[str, Any]]:
    """A row a method; the first of them is without pruning.

    Args:
        task: Space, sampler, seed.
        trained: The trainings.
        runs: Of each method.
        starts: Workers that each method started, `START_S` each.
    """
    name, sampler, seed = task
    target = outcome(trained, next(iter(runs.values()))).best - CLOSE
    rows = []
    for method, ran in runs.items():
        found = asdict(outcome(trained, ran))
        known = {"space": name, "sampler": sampler, "seed": seed, "method": method}
        starting = {"flops": 0.0, "seconds": START_S * (starts or {}).get(method, 0)}
        for unit in UNITS:
            known |= {
                f"total_{unit}": found["total"][unit] + starting[unit],
                f"first_{unit}": found["first"][unit] + starting[unit],
                f"to_target_{unit}": cost_to(trained, ran, unit, target),
            }
        rows.append(known | {k: v for k, v in found.items() if k not in ("total", "first")})
    return rows


def _collected(
    work: Callable[[Any], Any], tasks: list[Any], workers: int, description: str
) -> list[Any]:
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        return list(track(pool.map(work, tasks), total=len(tasks), description=description))


def main(
    seeds: Annotated[int, typer.Option(min=2, help="Runs of each method.")] = SEEDS,
    workers: Annotated[int, typer.Option(help="Processes.")] = 2,
    with_ray: Annotated[bool, typer.Option("--tune/--no-tune", help="Also Tune's methods.")] = True,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = FOLDER,
) -> None:
    """Write the results."""
    tasks = [(n, s, i) for n in (*SPACES, PLAIN) for s in SAMPLERS for i in range(seeds)]
    found = _collected(with_optuna, tasks, workers, "Optuna")
    if with_ray:
        tasks = [(n, s, i) for n, s in TUNE_CASES for i in range(seeds)]
        found += _collected(with_tune, tasks, workers, "Tune")
    certified = _collected(with_certificate, list(range(seeds)), workers, "certified")
    runs = pd.DataFrame([row for rows in found for row in rows])
    runs.to_csv(out / "runs.csv", index=False, float_format="%.6g")
    text = report.page(runs, pd.DataFrame(certified), {n: table(n) for n in (*SPACES, PLAIN)})
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "optuna", "ray"))
    text += f"\n\nReplayed with {versions}, Python {platform.python_version()}; {seeds} seeds."
    (out / "results.md").write_text(text + "\n", encoding="utf-8")
    report.pictures(runs, out)
    typer.echo(text)


if __name__ == "__main__":
    typer.run(main)
