"""How well do first steps tell what becomes of a trial, in tasks that nobody was fitted on?

    python -m benchmarks.prediction.trials.evaluate              # the development tasks
    python -m benchmarks.prediction.trials.evaluate --held-out   # the others, with what is shipped

Protocol: on the development tasks the forest is fitted anew for every group that is left out (a
task, a data set, a family of networks, an optimizer) and asked about that group alone; on the
held-out tasks the shipped forest and the shipped threshold are asked. AUROC is that for *fails*;
Spearman's correlation is that of the score with the reach, within a task. *Lost* are good trials
that are condemned, *caught* failures. Intervals: 95 %, bootstrap over trials. The rivals cost as
much: the loss after the same steps (over that of a constant prediction), how far it fell, and the
size of the first gradient.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import pandas as pd
import typer
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from benchmarks.prediction.trials.fit import STEPS, fitted, numbers_of, rank_of, said
from benchmarks.prediction.trials.labels import load
from benchmarks.tables import markdown
from recent_prune.probe.result import LEAST_REDUNDANCY
from recent_prune.rules.first_steps import required_reach
from recent_prune.rules.first_steps_forests import first_steps_model
from recent_prune.rules.forest import Forest
from recent_prune.rules.profile_numbers import log_odds, named_numbers, probability_of
from recent_prune.rules.step_numbers import NUMBERS
from recent_prune.rules.trainability import MIN_REACH

FOLDER = Path(__file__).parent
DRAWS = 500
FEWEST = 20
"""Trials of a group below which it is not listed."""

Column = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
GROUPS = {"a task": "task", "a data set": "data", "a family": "family", "an optimizer": "optimizer"}
OURS = "first steps and profile (the verdict)"
RANKED = "first steps and profile (the score)"
LOSS = "loss after the same steps"


def asked(forest: Forest, numbers: pd.DataFrame) -> Column:
    """What a forest says of trials."""
    rows = numbers.to_dict("records")
    return np.array([forest({str(k): float(v) for k, v in row.items()}).mean for row in rows])


def left_out(
    table: pd.DataFrame, numbers: pd.DataFrame, column: str, target: pd.Series | None = None
) -> Column:
    """What forests say of each trial that were fitted without its group, by default its reach."""
    said = np.zeros(len(table))
    wanted = table["reach"] if target is None else target
    for group in table[column].unique():
        unseen = (table[column] == group).to_numpy()
        forest = fitted(numbers[~unseen], wanted[~unseen])
        said[unseen] = asked(forest, numbers[unseen])
    return said


def rivals(table: pd.DataFrame, numbers: pd.DataFrame) -> dict[str, Column]:
    """Scores that cost no more."""
    first = np.stack(table["gradient_norms"].to_list())[:, 0].astype(float)
    return {
        LOSS: -numbers["loss"].to_numpy(),
        "how far it fell": numbers["progress"].to_numpy() - np.log(table["budget"].to_numpy()),
        "accuracy after the same steps": numbers["accuracy"].to_numpy(),
        "size of the first gradient": np.nan_to_num(first, nan=0.0, posinf=1e30),
    }


def auroc(score: Column, fails: npt.NDArray[np.bool_]) -> float:
    """For "fails", by a low score; NaN where there is only one kind."""
    return float(roc_auc_score(fails, -score)) if 0 < fails.mean() < 1 else float("nan")


def spearman(score: Column, reach: Column) -> float:
    """NaN where either is constant."""
    with warnings.catch_warnings(action="ignore"):
        return float(spearmanr(score, reach).statistic)


def within(score: Column, table: pd.DataFrame, by: str = "task") -> Column:
    """Spearman's correlation in each group that is large enough."""
    groups = table.groupby(by).indices.values()
    reach = table["reach"].to_numpy()
    found = [spearman(score[i], reach[i]) for i in groups if len(i) >= FEWEST]
    return np.array(found)


def row(score: Column, table: pd.DataFrame, by: str = "task") -> dict[str, str]:
    """A score in one line, over all and in the worst group."""
    fails = table["fails"].to_numpy()
    draw = np.random.default_rng(0)
    draws = [draw.integers(len(table), size=len(table)) for _ in range(DRAWS)]
    low, high = np.quantile([auroc(score[i], fails[i]) for i in draws], [0.025, 0.975])
    sizes = [i for i in table.groupby(by).indices.values() if len(i) >= FEWEST]
    each = np.array([auroc(score[i], fails[i]) for i in sizes])
    ranks = within(score, table, by)
    return {
        "AUROC": f"{auroc(score, fails):.3f} ({low:.3f}–{high:.3f})",
        "median, worst group": f"{np.nanmedian(each):.3f}, {np.nanmin(each):.3f}",
        "Spearman, median, worst": f"{np.nanmedian(ranks):.3f}, {np.nanmin(ranks):.3f}",
    }


def condemned_by(said: Column, table: pd.DataFrame, numbers: pd.DataFrame) -> Flags:
    """What the rule would say, but for what is outside of what was fitted."""
    rows = zip(numbers.to_dict("records"), probabilities(table), strict=True)
    asked_for = [
        required_reach({str(k): float(v) for k, v in row.items()}, probability, MIN_REACH)
        for row, probability in rows
    ]
    return (said < np.array(asked_for)) | table["nonfinite_step"].notna().to_numpy()


def probabilities(table: pd.DataFrame) -> Column:
    """That networks with such profiles after the steps train, 1 where a profile says nothing."""
    found = []
    for row in table.to_dict("records"):
        silent = row["redundancy_after"] < LEAST_REDUNDANCY or row["stochastic_after"]
        if not row["finite_after"] or silent:
            found.append(0.0 if not row["finite_after"] else 1.0)
            continue
        numbers = named_numbers(
            retained=float(np.mean([row[f"retained_{i}_after"] for i in range(3)])),
            mean_retained=float(np.mean([row[f"mean_retained_{i}_after"] for i in range(3)])),
            rms=row["rms_after"],
            input_rms=row["input_rms_after"],
            response=row["response_after"],
            varying=row["variance_after"],
        )
        found.append(probability_of(log_odds(numbers)))
    return np.array(found)


def verdicts(condemned: Flags, table: pd.DataFrame, by: str) -> dict[str, str]:
    """What the rule loses and catches, over all and in the worst group."""
    good, fails = table["good"].to_numpy(), table["fails"].to_numpy()
    groups = table.groupby(by).indices.values()
    caught = [condemned[i][fails[i]].mean() for i in groups if fails[i].sum() >= FEWEST // 2]
    lost = [condemned[i][good[i]].mean() for i in groups if good[i].sum() >= FEWEST // 2]
    return {
        "lost": f"{int((condemned & good).sum())} of {int(good.sum())}",
        "lost, worst group": f"{max(lost, default=0.0):.1%}",
        "caught": f"{condemned[fails].mean():.1%} of {int(fails.sum())}",
        "caught, worst group": f"{min(caught, default=0.0):.1%}",
        "between": f"{condemned[~good & ~fails].mean():.1%} of {int((~good & ~fails).sum())}",
    }


def by_task(said: Column, condemned: Flags, table: pd.DataFrame, loss: Column) -> pd.DataFrame:
    """Each task on its own, beside the loss after the same steps."""
    rows = []
    for name, i in sorted(table.groupby("task").indices.items()):
        part = table.iloc[i]
        fails, good = part["fails"].to_numpy(), part["good"].to_numpy()
        reach = part["reach"].to_numpy()
        rows.append(
            {
                "task": name,
                "trials": len(i),
                "fail": f"{fails.mean():.0%}",
                "AUROC": f"{auroc(said[i], fails):.3f}",
                "of the loss": f"{auroc(loss[i], fails):.3f}",
                "Spearman": f"{spearman(said[i], reach):.2f}",
                "of the loss ": f"{spearman(loss[i], reach):.2f}",
                "caught": f"{condemned[i][fails].mean():.0%}",
                "good lost": f"{int((condemned[i] & good).sum())} of {int(good.sum())}",
            }
        )
    return pd.DataFrame(rows)


def sureness(numbers: pd.DataFrame, rank: pd.Series) -> pd.DataFrame:
    """What the shipped forest that ranks says of its error, and what that is, by fifths.

    Args:
        numbers: Of held-out trials.
        rank: Their own.
    """
    forest = first_steps_model("rank", profile=True)
    mean, deviation = said(forest, numbers)
    expected = forest.error[0] + forest.error[1] * deviation
    wrong = (rank - mean).abs()
    fifth = pd.qcut(expected, 5, labels=["surest", "2", "3", "4", "least sure"])
    known = pd.DataFrame({"fifth": fifth, "said": expected, "is": wrong})
    rows = known.groupby("fifth", observed=True)[["said", "is"]].mean().reset_index()
    over_all = pd.DataFrame([{"fifth": "all", "said": expected.mean(), "is": wrong.mean()}])
    return pd.concat([rows.astype({"fifth": str}), over_all]).round(3)


def page(*, held_out: bool) -> str:
    """The results in Markdown."""
    table = load(STEPS, held_out=held_out)
    silent = int((~table["learnable"]).sum())
    table = table[table["learnable"]].reset_index(drop=True)
    numbers = numbers_of(table)
    found = rivals(table, numbers)
    about = f"{len(table)} trials of {table['task'].nunique()} tasks"
    text = [f"{about}; {silent} more of groups that learn nothing within their budget.\n"]
    if held_out:
        scores = {"shipped": asked(first_steps_model("reach", profile=True), numbers)}
        leaving = {"shipped": "task"}
    else:
        scores = {name: left_out(table, numbers, column) for name, column in GROUPS.items()}
        leaving = GROUPS
    main = next(iter(scores))
    lines = [{"score": OURS, **row(scores[main], table)}]
    alone = numbers[list(NUMBERS)]
    steps = (
        asked(first_steps_model("reach", profile=False), alone)
        if held_out
        else left_out(table, alone, "task")
    )
    rank = (
        asked(first_steps_model("rank", profile=True), numbers)
        if held_out
        else left_out(table, numbers, "task", rank_of(table))
    )
    lines += [{"score": RANKED, **row(rank, table)}]
    lines += [{"score": "the steps alone", **row(steps, table)}]
    lines += [{"score": name, **row(score, table)} for name, score in found.items()]
    text += [markdown(pd.DataFrame(lines)), ""]
    lines = [
        {
            "left out": name,
            **row(said, table, by),
            **verdicts(condemned_by(said, table, numbers), table, by),
        }
        for (name, said), by in zip(scores.items(), leaving.values(), strict=True)
    ]
    text += [f"Verdicts at a least reach of {MIN_REACH:g}:\n", markdown(pd.DataFrame(lines)), ""]
    condemned = condemned_by(scores[main], table, numbers)
    text += [markdown(by_task(scores[main], condemned, table, found[LOSS]))]
    if held_out:
        text += [
            "",
            "How sure the score is: the error it gives itself, and its mean absolute error.\n",
        ]
        text += [markdown(sureness(numbers, rank_of(table)))]
    return "\n".join(text) + "\n"


def main(
    held_out: Annotated[bool, typer.Option("--held-out", help="The tasks of nobody.")] = False,
) -> None:
    """Write the results."""
    text = page(held_out=held_out)
    name = "held_out" if held_out else "development"
    (FOLDER / f"results_{name}.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    typer.run(main)
