"""What is shipped, asked about trials unlike those that anything was fitted to.

    python -m benchmarks.prediction.elsewhere.evaluate   # a minute

Verdict and score are those of `TrainabilityRule` as it comes, of the results that `train` kept;
labels as in `benchmarks.prediction.trials.labels`, rung zero as in
`benchmarks.compute_saved.other_tasks`. The rival is the loss after the same steps. Intervals: 95 %,
bootstrap over trials. Writes ``results.md``.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.compute_saved.other_tasks import of_task
from benchmarks.prediction.elsewhere.train import TRAINED, TRIALS
from benchmarks.prediction.trials.evaluate import Column, Flags, auroc, by_task, row, verdicts
from benchmarks.prediction.trials.labels import labelled
from benchmarks.tables import markdown
from recent_prune import ProbeResult, TrainabilityRule
from recent_prune.rules.step_numbers import step_numbers

FOLDER = Path(__file__).parent
SWEEPS = 200
LEAST = -1e9
"""What stands for the score of a trial that is dead or broken."""


def judged() -> pd.DataFrame:
    """Labels, verdict (``condemned``, ``cause``, ``reason``), ``score`` and the loss's score."""
    trials = pd.read_parquet(TRIALS)
    table = labelled(trials, pd.read_parquet(TRAINED))
    table = table[table["learnable"] & table["probe"].notna()].reset_index(drop=True)
    rule = TrainabilityRule()
    rows = []
    for text, optimizer in zip(table["probe"], table["optimizer"], strict=True):
        result = ProbeResult.from_dict(json.loads(text))
        assert result.steps is not None
        # As a probe tells it since; these were made before.
        slow = dataclasses.replace(result.steps, slow_start=optimizer == "radam")
        result = dataclasses.replace(result, steps=slow)
        assert result.steps is not None
        verdict = rule(result)
        rows.append(
            {
                "condemned": not verdict.trainable,
                "cause": None if verdict.cause is None else str(verdict.cause),
                "reason": verdict.reason,
                "score": max(rule.score(result), LEAST),
                "loss_score": -step_numbers(result.steps)["loss"],
            }
        )
    return table.join(pd.DataFrame(rows)).assign(held_out=True)


def rung_zero(table: pd.DataFrame) -> pd.DataFrame:
    """What is left of random search's cost, a row a task, and the mean of logarithms."""
    scores = {"score": table["score"], "loss": table["loss_score"], "oracle": table["quality"]}
    columns = {name: np.asarray(score, dtype=float) for name, score in scores.items()}
    groups = table.groupby("task").indices.values()
    found = pd.DataFrame([of_task(table, columns, np.asarray(i), SWEEPS) for i in groups])
    found = found.drop(columns="held out")
    means = np.exp(np.log(found.drop(columns=["task", "trials"])).mean())
    last = pd.DataFrame([{"task": "mean (of logarithms)", "trials": len(table), **means}])
    return pd.concat([found, last], ignore_index=True).round(2)


def by_group(said: Column, condemned: Flags, table: pd.DataFrame, by: str) -> pd.DataFrame:
    """Each family, or optimizer, on its own."""
    fails, good = table["fails"].to_numpy(bool), table["good"].to_numpy(bool)
    rows = [
        {
            by: name,
            "trials": len(i),
            "AUROC": f"{auroc(said[i], fails[i]):.2f}",
            "good lost": f"{int((condemned & good)[i].sum())} of {int(good[i].sum())}",
            "caught": f"{condemned[i][fails[i]].mean():.0%}",
        }
        for name, i in sorted(table.groupby(by).indices.items())
    ]
    return pd.DataFrame(rows)


def page(table: pd.DataFrame) -> str:
    """The results in Markdown."""
    said, loss = (table[name].to_numpy(float) for name in ("score", "loss_score"))
    condemned = table["condemned"].to_numpy(bool)
    failed = int(pd.read_parquet(TRIALS)["probe"].isna().sum())
    lines = [{"score": "rule.score", **row(said, table)}]
    lines.append({"score": "loss after the same steps", **row(loss, table)})
    groups = [
        {"by": by, **verdicts(condemned, table, by)} for by in ("task", "family", "optimizer")
    ]
    causes = table[condemned].groupby("cause")["reach"].agg(["size", "median", "max"]).reset_index()
    lost = table[condemned & table["good"]]
    listed = lost[["task", "family", "optimizer", "learning_rate", "budget", "reach", "reason"]]
    parts = [
        "`python -m benchmarks.prediction.elsewhere.evaluate`",
        f"{len(table)} trials of {table['task'].nunique()} tasks, of which "
        f"{table['fails'].mean():.0%} fail; {failed} could not be probed.",
        markdown(pd.DataFrame(lines)),
        "The default verdict:",
        markdown(pd.DataFrame(groups)),
        markdown(by_task(said, condemned, table, loss)),
        *(markdown(by_group(said, condemned, table, by)) for by in ("family", "optimizer")),
        "Condemned, by cause, and what they reached:",
        markdown(causes.round(2)),
        "Good ones that were lost:" if len(lost) else "No good one was lost.",
        *([markdown(listed.round(4))] if len(lost) else []),
        "Rung zero: cost over that of random search, to its mean best of 12.",
        markdown(rung_zero(table)),
    ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Write the results."""
    text = page(judged())
    (FOLDER / "results.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
