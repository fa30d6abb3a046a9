"""What other people's searches cost, alone and with rung zero in front: their own code, our tables.

    python -m benchmarks.compute_saved.peers.measure              # what is missing, then the tables
    python -m benchmarks.compute_saved.peers.measure --only GP --seeds 40
    python -m benchmarks.compute_saved.peers.measure --seeds 0    # the tables alone

Needs ``pip install -e '.[peers]'``; a peer whose package is not there is left out, and said so.

The questions, written down before anything was run:
- What does each peer cost, candidates and their probes included, until a training ends as good as
  random search's mean best of 12 trainings, and of 24, over random search's cost to the same?
- Does rung zero in front leave, of the best peer's cost, at most 0.4 in *everyday* and at most 0.7
  in the worst space; of TPE's at most 0.4; is TPE behind it at most 0.9 of random search behind it?
- Does rung zero alone leave at most 0.20 of random search's cost in *everyday*, 0.22 in *wild*,
  0.15 in *default*, 0.25 in *benign* and *slow*?
- Does it cost at most 0.8 of the loss after the same steps in the mean and 1.0 in the
  worst space, and at most 0.5 of a learner on hyperparameters in the worst?
- After what 12 whole trainings cost in the mean, is the best value never below random search's,
  outside of noise?

Protocol: the six tables of `benchmarks.compute_saved.rung_zero`, none of which the score's forest
was fitted to. Every method draws each configuration once at most, as
`benchmarks.compute_saved.optuna_replay.TableSampler` does, and may draw all of a table. A run ends
when it has reached the higher target and spent what 12 trainings cost (of a slow peer, when it has
reached the target); one that never reaches a target counts with all that it cost and is *missed*.
Targets are means over 100 random searches. Rung zero is the real pruner (``keep=1/8``), the peer
gets what goes on. A training that is taken up again pays only what is new. What a method thinks is
not counted in operations or seconds of training, but told beside them. Seeds are the same for all:
100 of the main methods, 50 of others, 20 of slow ones, or as many as there was time for, told
beside each; ratios of means over the seeds that both have, with 95 % bootstrap intervals over
seeds: other draws from the same table, not other tables. An early look is fitted to the five other
tables, one of which, for *wild*, is the same space on other images.

After a first look: what stands for BTTackler's median over layers was at first the median of the
three gradients that a table holds, which lies above it where gradients vanish; it was changed, to
its advantage. What Syne Tune's searchers draw at random was at first the row nearest to their own
uniform draw, which is another distribution than the table's and flattered them; it became the
table's order. Seeds were cut to what there was time for.

After a second look: at first 5 % of all candidates were trained at random, as well as the best
eighth. A simulation on these tables showed that to cost more than anything else; since then 5 % of
the *trainings* are drawn so (`recent_prune.rules.rung_zero.chance`), and whether a ranking holds is
asked of all trainings, not of those that were drawn alone. `other_tasks` and
``benchmarks/prediction/elsewhere`` were looked at after that was settled.

Writes ``peers.csv`` (a row a run, as they come; what is there is kept, unless it is of another
rung zero than today's) and ``peers.md``.
"""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from rich.progress import track

from benchmarks.compute_saved.curves import best_so_far
from benchmarks.compute_saved.optuna_replay import Ran
from benchmarks.compute_saved.outcome import costs, values
from benchmarks.compute_saved.peers.methods import METHODS
from benchmarks.compute_saved.peers.page import page
from benchmarks.compute_saved.peers.search import rung_zero
from benchmarks.compute_saved.rung_zero import SPACES
from benchmarks.compute_saved.table import Trained, load
from recent_prune.rules import TrainabilityRule
from recent_prune.rules.rung_zero import chance
from recent_prune.rules.rung_zero.worth import ENOUGH, EXPECTED, SPREAD

FOLDER = Path(__file__).parent.parent
RUNS = FOLDER / "peers.csv"
TRAININGS = (12, 24)
"""Random search's mean best of so many is to be reached."""
SEARCHES = 100
"""Random searches that the targets are means of."""
UNITS = ("flops", "seconds")
SAVED_EVERY = 30.0
"""Seconds after which rows are saved again."""
MODULES = {"syne-tune": "syne_tune", "smac": "smac", "cmaes": "cmaes"}


class Enough:
    """Whether a run has come to its end.

    Args:
        trained: The table.
        target: Value that is to be reached.
        budget: Operations that are to be spent at least.
    """

    def __init__(self, trained: Trained, target: float, budget: float) -> None:
        self._trained, self._target, self._budget = trained, target, budget
        self._seen, self._spent, self._best = 0, 0.0, 0.0

    def __call__(self, ran: Sequence[Ran]) -> bool:
        """Asked again and again of the same growing run."""
        new = list(ran[self._seen :])
        self._seen = len(ran)
        if new:
            self._spent += float(costs(self._trained, new, "flops").sum())
            self._best = max(self._best, float(values(self._trained, new).max()))
        return self._best >= self._target and self._spent >= self._budget


def target(trained: Trained, trainings: int) -> float:
    """Random search's mean best of so many trainings."""
    orders = (np.random.default_rng(seed).permutation(len(trained)) for seed in range(SEARCHES))
    return float(np.mean([trained.final[order[:trainings]].max() for order in orders]))


def measured(trained: Trained, ran: Sequence[Ran]) -> dict[str, object]:
    """What a run cost to each target, in mean trainings."""
    row: dict[str, object] = {}
    reached = values(trained, ran)
    spent = {unit: costs(trained, ran, unit).cumsum() for unit in UNITS}
    whole = {unit: float(getattr(trained, unit)[:, -1].mean()) for unit in UNITS}
    for trainings in TRAININGS:
        found = np.flatnonzero(reached >= target(trained, trainings))
        end = int(found[0]) if len(found) else len(ran) - 1
        row[f"reached_{trainings}"] = bool(len(found))
        for unit in UNITS:
            row[f"{unit}_{trainings}"] = float(f"{spent[unit][end] / whole[unit]:.5g}")
        row[f"candidates_{trainings}"] = len({r.index for r in ran[: end + 1]})
        row[f"trainings_{trainings}"] = sum(r.epochs == trained.epochs for r in ran[: end + 1])
    return row


def best_at(trained: Trained, ran: Sequence[Ran], spent: float) -> float:
    """The best value of what had ended when so many operations were spent, 0 before the first."""
    return round(float(np.nan_to_num(best_so_far(trained, ran, np.asarray([spent]))[0])), 4)


@cache
def _table(space: str) -> Trained:
    return load(space)


@cache
def _rung_zero_of(space: str) -> str:
    """What today's rung zero says of a space, as a short sum: rows of another one are stale."""
    rule = rung_zero().rule
    assert isinstance(rule, TrainabilityRule)
    said: list[object] = [(rule(r).trainable, f"{rule.score(r):.6g}") for r in _table(space).probes]
    said.append((chance(rung_zero().explore, rung_zero().keep), EXPECTED, SPREAD, ENOUGH))
    return f"{zlib.crc32(repr(said).encode()):08x}"


Job = tuple[str, str, int]


def run(job: Job) -> dict[str, object]:
    """One run of a method."""
    space, method, seed = job
    trained = _table(space)
    slow = METHODS[method].peer.slow
    budget = 0.0 if slow else TRAININGS[0] * float(trained.flops[:, -1].mean())
    start = time.perf_counter()
    ran = METHODS[method](trained, seed, Enough(trained, target(trained, TRAININGS[-1]), budget))
    took = time.perf_counter() - start
    stamp = _rung_zero_of(space) if METHODS[method].has_rung else ""
    return {
        "space": space,
        "method": method,
        "seed": seed,
        "rung_zero": stamp,
        **measured(trained, ran),
        "best": math.nan if slow else best_at(trained, ran, budget),
        "took": round(took, 2),
    }


def kept() -> pd.DataFrame:
    """The rows that are there, those of another rung zero left out."""
    if not RUNS.exists():
        return pd.DataFrame(columns=["space", "method", "seed", "rung_zero"])
    rows = pd.read_csv(RUNS, dtype={"rung_zero": str}).fillna({"rung_zero": ""})
    stamps = {space: ("", _rung_zero_of(space)) for space in rows["space"].unique()}
    today = [
        space in SPACES
        and method in METHODS
        and stamp == stamps[space][int(METHODS[method].has_rung)]
        for space, method, stamp in zip(
            rows["space"], rows["method"], rows["rung_zero"], strict=True
        )
    ]
    return rows[today]


def missing(methods: Sequence[str], seeds: int | None, known: pd.DataFrame) -> Iterator[Job]:
    """What is to be run, all methods of a seed before the next seed."""
    have = set(zip(known["space"], known["method"], known["seed"], strict=True))
    for seed in range(max([METHODS[m].peer.seeds for m in methods] if seeds is None else [seeds])):
        for method in methods:
            if seeds is None and seed >= METHODS[method].peer.seeds:
                continue
            for space in SPACES:
                if (space, method, seed) not in have:
                    yield space, method, seed


def is_there(method: str) -> bool:
    """Whether the package that it needs is installed."""
    needs = METHODS[method].peer.needs
    return needs is None or find_spec(MODULES[needs]) is not None


def write(rows: pd.DataFrame) -> None:
    """All of them, in order."""
    order = {name: place for place, name in enumerate((*SPACES, *METHODS))}
    keys = rows[["space", "method"]].map(lambda name: order[str(name)]).assign(seed=rows["seed"])
    rows.loc[keys.sort_values(["space", "method", "seed"]).index].to_csv(RUNS, index=False)


def run_all(jobs: Sequence[Job], rows: pd.DataFrame, workers: int, minutes: float) -> pd.DataFrame:
    """Run them, and save the rows as they come.

    Args:
        jobs: What is to be run.
        rows: What is there.
        workers: Processes.
        minutes: After which no other run is begun.
    """
    new: list[dict[str, object]] = []
    end, saved = time.monotonic() + 60 * minutes, time.monotonic()
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(run, job) for job in jobs}
        for future in track(as_completed(set(futures)), total=len(jobs)):
            futures.remove(future)
            if future.exception() is not None:
                pool.shutdown(wait=False, cancel_futures=True)  # else all others are waited for
                write(together(rows, new))
            new.append(future.result())
            if time.monotonic() > end:
                pool.shutdown(wait=True, cancel_futures=True)
                break
            if time.monotonic() > saved + SAVED_EVERY:
                saved = time.monotonic()
                write(together(rows, new))
    # Those that were running when time was up.
    new += [future.result() for future in futures if not future.cancelled()]
    rows = together(rows, new)
    write(rows)
    return rows


def together(rows: pd.DataFrame, new: Sequence[dict[str, object]]) -> pd.DataFrame:
    """All rows."""
    parts = [part for part in (rows, pd.DataFrame(new)) if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else rows


def main(
    only: Annotated[list[str] | None, typer.Option(help="Methods; default: all.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Runs of each; default: its own.")] = None,
    again: Annotated[bool, typer.Option(help="Also what is there.")] = False,
    workers: Annotated[int, typer.Option(help="Processes.")] = 2,
    minutes: Annotated[float, typer.Option(help="Start no run after so many.")] = 1e9,
) -> None:
    """Run what is missing, and compare."""
    methods = [name for name in (only or list(METHODS)) if is_there(name)]
    left_out = sorted(set(only or METHODS) - set(methods))
    if left_out:
        print(f"Left out, since their packages are not installed: {', '.join(left_out)}.")
    rows = kept().reset_index(drop=True)
    if again:
        rows = rows[~rows["method"].isin(methods)]
    write(rows)
    rows = run_all(list(missing(methods, seeds, rows)), rows, workers, minutes)
    (FOLDER / "peers.md").write_text(page(rows), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
