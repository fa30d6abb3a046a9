"""How well a probe tells what becomes of a trial: from ``benchmarks/prediction`` and beside."""

from __future__ import annotations

from functools import cache

import pandas as pd
from scipy.special import expit

from benchmarks.prediction.evaluate import log_odds
from benchmarks.prediction.score import NUMBERS
from docs.figures.results import ROOT, Source, first, line, markdown, table
from recent_prune.rules import TrainabilityRule
from recent_prune.rules.trainability import EVEN, LOST, NORMALIZED

TRIALS = "benchmarks/prediction/trials"
DEVELOPMENT, HELD_OUT = f"{TRIALS}/results_development.md", f"{TRIALS}/results_held_out.md"
REPLICATION = "benchmarks/prediction/results_replication_digits.md"
TEST = "benchmarks/prediction/results_test_digits.md"
UNSEEN = ("replication", "confirmation", "holdout")
"""Samples to which the curves were not fitted."""
LEFT_OUT = ("a task", "a family", "an optimizer")
OF_TRIALS = Source(
    "python -m benchmarks.prediction.trials.evaluate --held-out",
    "two cores, and the same without the option for what was left out",
    "2026-11-25",
)
OF_NETWORKS = Source(
    "python -m benchmarks.prediction.evaluate --sample replication",
    line(REPLICATION, "Python"),
    "2026-11-23",
)
OF_CERTIFICATES = Source(
    "python -m benchmarks.certificate.measure",
    line("benchmarks/certificate/results.md", "Python").split(". ")[0],
    "2026-11-22",
)
PREDICTORS = {
    "probe (default), `TrainabilityRule`": "probe (`TrainabilityRule().score`)",
    "probe, retained share alone": "probe, retained share alone",
    "partial Jacobian norm": "partial Jacobian norm, exact",
    "regression on the hyperparameters": "regression on the hyperparameters, after other trainings",
    "minus the depth": "minus the depth",
    "after 50": "accuracy after 50 steps of real training",
    "after the first epoch": "accuracy after an epoch of real training (22 steps)",
}
OURS, LOSS = "first steps and profile (the verdict)", "loss after the same steps"
STEPS = "the steps alone"
RANKED = "first steps and profile (the score)"


def _said(path: str) -> str:
    """Trials, from the first line of a page."""
    return f"{int(line(path, '').split(' ')[0]):,}"


def _percent(cell: str) -> str:
    return f"{float(cell.split('%')[0]):.0f} %"


def first_steps() -> str:
    """AUROC, correlation, caught and lost: groups left out, and the held-out tasks."""
    out, held = table(DEVELOPMENT, "left out"), table(HELD_OUT, "left out")
    columns = {name: out.loc[name] for name in LEFT_OUT} | {"held-out tasks": held.loc["shipped"]}
    loss = {"a task": table(DEVELOPMENT, "score").loc[LOSS]}
    loss["held-out tasks"] = table(HELD_OUT, "score").loc[LOSS]
    said = {name: _said(DEVELOPMENT) for name in LEFT_OUT} | {"held-out tasks": _said(HELD_OUT)}
    auroc, ranks = "AUROC", "Spearman, median, worst"
    rows = {
        "trials": said,
        'AUROC for "fails"': {n: str(c[auroc]) for n, c in columns.items()},
        "of the loss after the same steps": {n: first(str(c[auroc])) for n, c in loss.items()},
        "Spearman's correlation with the reach, median group": {
            n: _median(str(c[ranks])) for n, c in columns.items()
        },
        "of the loss after the same steps ": {n: _median(str(c[ranks])) for n, c in loss.items()},
        "failures caught": {n: _percent(str(c["caught"])) for n, c in columns.items()},
        "good trials lost": {n: str(c["lost"]) for n, c in columns.items()},
    }
    return markdown(
        [{"left out": name} | {n: row.get(n, "") for n in columns} for name, row in rows.items()],
        OF_TRIALS,
    )


def _median(cell: str) -> str:
    return f"{float(cell.split(',')[0]):.2f}"


def held_out(score: str, column: str = "AUROC") -> str:
    """Of the held-out tasks: ``ours``, ``loss`` or ``steps``, without its interval."""
    name = {"ours": OURS, "loss": LOSS, "steps": STEPS}[score]
    return first(str(table(HELD_OUT, "score").loc[name, column])).rstrip(",")


def held_out_verdicts(column: str) -> str:
    """What the shipped rule has ``lost`` and ``caught`` on the held-out tasks."""
    cell = str(table(HELD_OUT, "left out").loc["shipped", column])
    return _percent(cell) if "%" in cell else cell


def initializations() -> str:
    """AUROC for "trains" of initializations, 600 networks."""
    found = table(REPLICATION, "predictor", "hard band")
    plain = next(str(c) for c in found.columns if str(c).startswith("plain"))
    rows = [
        {"predictor": name}
        | {
            head: str(found.loc[key, column])
            for head, column in (("all", "all"), ("plain", plain), ("hard band", "hard band"))
        }
        for key, name in PREDICTORS.items()
    ]
    return markdown(rows, OF_NETWORKS)


def initialization(predictor: str, sample: str = "replication") -> str:
    """AUROC for "trains" of a predictor over all networks of a sample."""
    path = f"benchmarks/prediction/results_{sample}_digits.md"
    found = table(path, "predictor", "hard band")
    known = next(name for name in found.index if str(name).startswith(predictor))
    return first(str(found.loc[known, "all"]))


@cache
def _unseen() -> pd.DataFrame:
    """Networks to which the curves were not fitted, with what `TrainabilityRule` says of them."""
    parts = []
    for sample in UNSEEN:
        folder = ROOT / "benchmarks/prediction"
        trained, scores = (
            pd.read_csv(folder / f"{kind}_{sample}_digits.csv") for kind in ("trained", "scores")
        )
        table_ = trained.merge(scores, on="index")
        table_["good"] = table_["accuracy"] > table_["accuracy"].max() - 0.1
        parts.append(table_)
    found = pd.concat(parts, ignore_index=True)
    found["trains"] = found["accuracy"] > 0.5
    found["probability"] = expit(log_odds(found[list(NUMBERS)]))
    return found


def caught(what: str, least: str = "") -> str:
    """Of networks to which the curves were not fitted: condemned among all of a kind.

    Args:
        what: ``untrainable``, ``good`` or ``mediocre``.
        least: `TrainabilityRule.min_probability` throughout; by default as the rule decides.
    """
    table_ = _unseen()
    asked = pd.Series(TrainabilityRule().min_probability, table_.index)
    if least:
        asked[:] = float(least)
    else:
        normalized = table_["norm"].ne("none")
        asked[table_["retained"].lt(LOST) & ~normalized] = EVEN
        asked[normalized] = NORMALIZED
    condemned = table_["probability"] < asked
    kinds = {
        "untrainable": ~table_["trains"],
        "good": table_["good"],
        "mediocre": table_["trains"] & ~table_["good"],
    }
    return f"{int((condemned & kinds[what]).sum())} of {int(kinds[what].sum())}"


def by_the_paper() -> str:
    """What `SaturationRule` catches on the test sample."""
    found = table(TEST, "rule", "untrainable caught")
    return str(found.loc["SaturationRule()", "untrainable caught"])


CERTIFIED = (
    ("honest", "1%"),
    ("honest", "5%"),
    ("honest", "10%"),
    ("trained networks", "5%"),
    ("trained networks", "10%"),
)


def certified() -> str:
    """What the certified rule keeps of its promise, and what it prunes."""
    found = table("benchmarks/certificate/results.md", "stream").reset_index()
    rows = []
    for stream, tolerance in CERTIFIED:
        row = found[(found["stream"] == stream) & (found["tolerance"] == tolerance)].iloc[0]
        rows.append(
            {
                "score": stream.replace("trained networks", "networks that were really trained"),
                "tolerated": tolerance,
                "studies within": _percent(row["within tolerance"]),
                "rate lost, mean (worst)": f"{row['rate, mean']} ({row['rate, worst']})",
                "pruned": row["pruned"],
            }
        )
    return markdown(rows, OF_CERTIFICATES)


def certified_overall(what: str) -> str:
    """Over all streams: ``studies``, ``cases``, or the ``share`` of studies within, at least."""
    found = table("benchmarks/certificate/results.md", "stream")
    share = min(float(str(cell).rstrip("%")) for cell in found["within tolerance"])
    return {
        "studies": f"{sum(int(str(cell)) for cell in found['studies']):,}",
        "cases": str(len(found)),
        "share": f"{share:.0f} %",
    }[what]
