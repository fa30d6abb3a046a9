"""What the forward probe knows of plain networks that SGD alone trains, on other images.

    python -m benchmarks.prediction.plain_evaluate   # minutes the first time, seconds then

The score of `TrainabilityRule` (curves fitted to five samples of digits, with labels of plain SGD
among them), the log-odds by which it judges (by the best of several optimizers), and the question
of `plain`: do the shares that are retained at each noise floor rank better one by one than by their
mean? Variants of the curves are fitted to all samples of digits, labelled by the best optimizer,
and looked at on each of these, left out in turn, and on the plain samples. AUROC for "trains":
above half of the way from chance to the best of the sample, 95 % bootstrap intervals.

The floors' shares of the digits are kept in ``floors_digits.csv``: delete it to probe anew. Writes
``results_plain.md``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from rich.progress import track

import recent_prune as rp
from benchmarks.prediction.evaluate import auroc, log_odds, with_interval
from benchmarks.prediction.fit import fit
from benchmarks.prediction.networks import SAMPLES
from benchmarks.prediction.plain import SAMPLES as PLAIN
from benchmarks.prediction.score import NUMBERS
from benchmarks.prediction.train import FOLDER, TRAINS, images
from benchmarks.tables import markdown
from recent_prune.rules.profile_numbers import Question, profile_numbers, trainability_model

FLOORS = FOLDER / "floors_digits.csv"
CHANCE = 0.1
DEEPEST = tuple(f"floor_{place}" for place in range(3))
MEANS = tuple(f"mean_floor_{place}" for place in range(3))
OTHERS = NUMBERS[2:]
VARIANTS = {
    "the mean over the floors (five numbers)": NUMBERS,
    "the deepest layer's shares one by one": (*DEEPEST, *NUMBERS[1:]),
    "and the means over layers one by one": (*DEEPEST, *MEANS, *OTHERS),
}

Mask = npt.NDArray[np.bool_]


def probed() -> pd.DataFrame:
    """Numbers and shares at each floor of all networks of digits, a row a network."""
    torch.set_num_threads(1)
    data, rows = images("digits", None), []
    for name, draw in SAMPLES.items():
        for network in track(draw(), description=name):
            result = rp.probe(network.build(data.train[0]), data.train)
            if result.nonfinite_layer is None:
                rows.append({"sample": name, "index": network.index, **shares(result)})
    return pd.DataFrame(rows)


def shares(result: rp.ProbeResult) -> dict[str, Any]:
    """The numbers that the rule looks at, and what is retained at each floor."""
    floors = np.asarray(result.retained_by_floor)
    return {
        **profile_numbers(result),
        **dict(zip(DEEPEST, floors[-1].tolist(), strict=True)),
        **dict(zip(MEANS, floors.mean(axis=0).tolist(), strict=True)),
    }


def digits() -> pd.DataFrame:
    """With ``trains``, by the best optimizer."""
    if not FLOORS.exists():
        probed().to_csv(FLOORS, index=False, float_format="%.5g")
    labels = [
        pd.read_csv(FOLDER / f"trained_{name}_digits.csv").assign(sample=name) for name in SAMPLES
    ]
    known = pd.concat(labels)[["sample", "index", "family", "accuracy"]]
    table = pd.read_csv(FLOORS).merge(known, on=["sample", "index"])
    finite = np.isfinite(table[[*NUMBERS, *DEEPEST, *MEANS]].to_numpy(float)).all(axis=1)
    found: pd.DataFrame = table[finite].assign(trains=table["accuracy"] > TRAINS)
    return found.reset_index(drop=True)


def plain(name: str) -> pd.DataFrame:
    """A plain sample, with ``trains``, by plain SGD."""
    table = pd.read_csv(FOLDER / f"plain_{name}.csv")
    half = CHANCE + (table["accuracy"].max() - CHANCE) / 2
    return table.assign(trains=table["accuracy"] >= half)


def variant(table: pd.DataFrame, samples: dict[str, pd.DataFrame], names: Any) -> dict[str, str]:
    """The AUROC of a variant, on samples that it was not fitted to."""
    chosen = list(names)
    rising = [name for name in chosen if "retained" in name or "floor" in name]
    trains, unseen = table["trains"].to_numpy(), np.zeros(len(table))
    for sample in table["sample"].unique():
        own = (table["sample"] == sample).to_numpy()
        model = fit(table.loc[~own, chosen], trains[~own], rising)
        unseen[own] = log_odds(table.loc[own, chosen], model)
    model = fit(table[chosen], trains, rising)
    found = {"digits, left out": f"{float(auroc(trains, unseen)):.3f}"}
    for name, sample in samples.items():
        score = log_odds(sample[chosen], model)
        found[name] = with_interval(sample["trains"].to_numpy(), score)
    return found


def main() -> None:
    """Compare and write down."""
    samples = {name: plain(name) for name in PLAIN}
    shipped: dict[str, Question] = {"the score": "rank", "the log-odds of the verdict": "judge"}
    rows: list[dict[str, str]] = []
    for what, question in shipped.items():
        model = trainability_model(question)
        row = {"": what}
        for name, sample in samples.items():
            score = log_odds(sample[list(NUMBERS)], model)
            row[name] = with_interval(sample["trains"].to_numpy(), score)
        rows.append(row)
    table = digits()
    variants = [{"": what, **variant(table, samples, names)} for what, names in VARIANTS.items()]
    counts = ", ".join(
        f"{name}: {int(s['trains'].sum())} of {len(s)} train" for name, s in samples.items()
    )
    text = "\n\n".join(
        [
            "# Plain networks by SGD alone",
            f"{counts}. As shipped:",
            markdown(pd.DataFrame(rows)),
            "Curves fitted to all samples of digits, by the best optimizer:",
            markdown(pd.DataFrame(variants)),
        ]
    )
    (FOLDER / "results_plain.md").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
