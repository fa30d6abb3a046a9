"""Does rung zero travel? What it saves in tasks that its score was not fitted on.

    python -m benchmarks.compute_saved.other_tasks   # some minutes

Protocol: the trials of ``benchmarks/prediction/trials`` (23 tasks, each optimizer setting a trial
of its own) are drawn from with replacement, task by task, as candidates of a sweep; which train is
decided by `recent_prune.rules.rung_zero`, with 5 % of the trainings at random, and turned down
where it does not hold. The score of a development task comes from a forest that was fitted without
it, that of a held-out task from the shipped one. What is compared is the cost in optimizer steps
until a trial ends as good as random search's mean best of 12 trainings: a training costs its
budget, a candidate `CANDIDATE` steps, as ``benchmarks/probe_cost`` measured. 200 draws of each
sweep, the same for all methods; ratios of means, and the mean of their logarithms over tasks.

The question, written down before it was run: is the cost at most 0.35 of random search's in each
task, at most that of the loss after the same steps in each, and at most 0.8 of it in the mean?
Asked twice: at first the forest predicted the reach, nothing was started at random and nothing
turned down. Then at 1/8 the mean was 0.49 of random search's cost and 0.97 of the loss's, and in
one task nothing good was ever started. What the forest predicts was changed on the development
tasks; of the held-out ones the first answer was known then. Then 5 % of all candidates were
trained at random, and the mean was 0.49 and 0.87 of the loss's.

Writes ``other_tasks.md`` and ``other_tasks.csv``.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import pandas as pd
import typer
from rich.progress import track

from benchmarks.prediction.trials.evaluate import LOSS, asked, left_out, rivals
from benchmarks.prediction.trials.fit import STEPS, numbers_of, rank_of
from benchmarks.prediction.trials.labels import load
from benchmarks.tables import markdown
from recent_prune.rules.first_steps_forests import first_steps_model
from recent_prune.rules.rung_zero import (
    Comparison,
    Standing,
    Training,
    chance,
    drawn,
    goes_on,
    turned_down,
)

FOLDER = Path(__file__).parent
CANDIDATE = 12.0
"""Training steps that the probe and six first steps take: 1.0 to 1.6 % of 938 steps."""
TRAININGS = 12
EXPLORE = 0.05
MOST = 2000
"""Candidates of a sweep, at most."""
FEWEST = 40
"""Trials of a task, at least."""

Column = npt.NDArray[np.float64]


def tables() -> Iterator[tuple[pd.DataFrame, dict[str, Column]]]:
    """The development tasks and the held-out ones, with their scores."""
    for held_out in (False, True):
        table = load(STEPS, held_out=held_out)
        table = table[table["learnable"]].reset_index(drop=True)
        numbers = numbers_of(table)
        if held_out:
            score = asked(first_steps_model("rank", profile=True), numbers)
        else:
            score = left_out(table, numbers, "task", rank_of(table))
        loss = rivals(table, numbers)[LOSS]
        meaning = {"score": score, "loss": np.nan_to_num(loss, nan=-np.inf)}
        yield table.assign(held_out=held_out), {**meaning, "oracle": table["quality"].to_numpy()}


def cost_of_random(quality: Column, budget: Column, target: float) -> float:
    """Steps until a trial ends as good as the target; all that there are, if none does.

    Args:
        quality: Of the candidates, in order.
        budget: Likewise.
        target: Quality to reach.
    """
    reached = np.flatnonzero(quality >= target)
    return float(budget[: reached[0] + 1 if len(reached) else None].sum())


def cost(score: Column, quality: Column, budget: Column, target: float, keep: float) -> float:
    """The same where candidates are ranked.

    Args:
        score: Of the candidates, in order.
        quality: Likewise.
        budget: Likewise.
        target: Quality to reach.
        keep: Share that is trained.
    """
    ranked: list[tuple[float, int]] = []
    first, compared = 0, Comparison()
    share, due, spent = keep, 0.0, 0.0
    for place in range(len(score)):
        own = (float(score[place]), -place)  # of equal ones the first
        rank = 1 + len(ranked) - bisect_left(ranked, own)
        insort(ranked, own)
        due += share
        best = goes_on(Standing(rank, place + 1, first, due), share)
        if not best and drawn("explore", place) >= chance(EXPLORE, share):
            continue
        spent += budget[place]
        if quality[place] >= target:
            return float(spent + CANDIDATE * (place + 1))
        first += best
        compared.add(Training(own[0], (float(quality[place]),), first=best))
        share = turned_down(keep, compared.worth())
    return float(spent + CANDIDATE * len(score))


def of_task(
    table: pd.DataFrame, scores: dict[str, Column], rows: npt.NDArray[np.int_], sweeps: int
) -> dict[str, object]:
    """What each score costs in one task, over random search."""
    quality = table["quality"].to_numpy(float)[rows]
    budget = table["budget"].to_numpy(float)[rows]
    rng = np.random.default_rng(0)
    draws = rng.integers(0, len(rows), (sweeps, MOST))
    seen = [(quality[d], budget[d]) for d in draws]
    target = float(quality[draws[:, :TRAININGS]].max(axis=1).mean())
    found: dict[str, object] = {
        "task": table["task"].iloc[rows[0]],
        "held out": bool(table["held_out"].iloc[rows[0]]),
        "trials": len(rows),
    }
    random = np.mean([cost_of_random(*known, target) for known in seen])
    for keep in (1 / 4, 1 / 8):
        for name, score in scores.items():
            spent = [
                cost(score[rows][d], *known, target, keep)
                for d, known in zip(draws, seen, strict=True)
            ]
            found[f"{name}, 1/{1 / keep:.0f}"] = float(np.mean(spent) / random)
    return found


def page(found: pd.DataFrame) -> str:
    """The tables."""
    columns = [str(column) for column in found if "1/" in str(column)]
    shown = found.copy()
    shown["ours / loss, 1/8"] = found["score, 1/8"] / found["loss, 1/8"]
    for column in [*columns, "ours / loss, 1/8"]:
        shown[column] = [f"{value:.2f}" for value in shown[column]]
    shown["held out"] = ["yes" if held else "" for held in found["held out"]]
    means = {column: f"{np.exp(np.log(found[column]).mean()):.2f}" for column in columns}
    worst = {column: f"{found[column].max():.2f}" for column in columns}
    over = found["score, 1/8"] / found["loss, 1/8"]
    lines = [
        {"over tasks": "mean (of logarithms)", **means},
        {"over tasks": "worst", **worst},
    ]
    text = (
        f"Ours over the loss after the same steps at 1/8: mean {np.exp(np.log(over).mean()):.2f}, "
        f"worst {over.max():.2f}, at most 1 in {(over <= 1).sum()} of {len(over)} tasks. At most "
        f"0.35 of random search in {(found['score, 1/8'] <= 0.35).sum()} of {len(found)}; the "
        f"oracle in {(found['oracle, 1/8'] <= 0.35).sum()}."
    )
    about = (
        f"Cost in optimizer steps to random search's mean best of {TRAININGS} trainings over that "
        f"of random search; a candidate costs {CANDIDATE:g} steps, a training its budget (100 to "
        "2,000). Scores of forests that were fitted without the task."
    )
    parts = ["# Rung zero in other tasks", about, markdown(pd.DataFrame(lines)), text]
    return "\n\n".join([*parts, markdown(shown), ""])


def main(sweeps: Annotated[int, typer.Option(help="Draws of each sweep.")] = 200) -> None:
    """Draw and compare."""
    rows = []
    for table, scores in tables():
        groups = [i for i in table.groupby("task").indices.values() if len(i) >= FEWEST]
        for group in track(groups):
            rows.append(of_task(table, scores, np.asarray(group), sweeps))
    found = pd.DataFrame(rows)
    found.to_csv(FOLDER / "other_tasks.csv", index=False)
    (FOLDER / "other_tasks.md").write_text(page(found), encoding="utf-8")
    print(page(found))


if __name__ == "__main__":
    typer.run(main)
