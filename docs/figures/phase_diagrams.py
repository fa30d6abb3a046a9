"""How well the probe, the paper's cutoff and mean field agree with training: from ``studies``."""

from __future__ import annotations

import pandas as pd

from docs.figures.results import ROOT, Source, markdown
from studies.agreement import collected

STUDIES = Source("python -m studies.agreement", "x86_64, two cores", "2026-11-22")
DATA = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "cifar10": "CIFAR-10"}
PREDICTORS = {
    "trainability": "probe",
    "paper's cutoff": "the paper's cutoff",
    "mean field": "mean field",
}


def _rows() -> list[dict[str, str]]:
    """The larger scale of each network and data set, for logits."""
    table = collected(ROOT / "studies")
    table = table[table["outputs"] == "logits"]
    table["order"] = table["data"].map(list(DATA).index)
    table["size"] = table["scale"].map(["compact", "small"].index)
    families = list(dict.fromkeys(table["network"]))
    table["family"] = table["network"].map(families.index)
    table = table.sort_values(["family", "order", "size"])
    table = table.drop_duplicates(["network", "data"], keep="last")
    return [{str(k): str(v) for k, v in row.items()} for row in table.to_dict("records")]


def agreement(measure: str) -> str:
    """Of predictions with trainings, by network and data set.

    Args:
        measure: ``AUROC`` for "trains", or ``Spearman`` for the correlation of depths.
    """
    rows = []
    for row in _rows():
        line = {"network": row["network"], "data": DATA[row["data"]], "train": row["train"]}
        for key, name in PREDICTORS.items():
            line[name] = row[f"{measure}, {key}"].replace("-", "−") or "–"
        rows.append(line | ({"k": row["k"] or "–"} if measure == "AUROC" else {}))
    return markdown(rows, STUDIES)


def agreement_on_mnist() -> str:
    """Of the tanh MLP on MNIST, with the paper's outputs beside logits."""
    table = collected(ROOT / "studies")
    known = table[
        (table["network"] == "tanh MLP") & (table["data"] == "mnist") & (table["scale"] == "small")
    ].set_index("outputs")
    return markdown(
        [
            {
                "predictor": name,
                "AUROC, logits": str(known.loc["logits", f"AUROC, {key}"]),
                "Spearman of depths": str(known.loc["logits", f"Spearman, {key}"]),
                "AUROC, the paper's outputs": str(known.loc["the paper's", f"AUROC, {key}"]),
            }
            for key, name in PREDICTORS.items()
        ],
        STUDIES,
    )


def mlp_auroc(data: str, predictor: str) -> str:
    """AUROC of a predictor for tanh MLPs, without its interval."""
    row = next(r for r in _rows() if r["network"] == "tanh MLP" and r["data"] == data)
    return row[f"AUROC, {predictor}"].split(" ")[0]


def vgg16_retained(layer: str) -> str:
    """What a layer of VGG16 with random weights retains of CIFAR-10."""
    table = pd.read_csv(ROOT / "studies/vgg16/results/small_cifar10_random.csv")
    known = table[table["layer"].eq(layer) & table["channel"].eq("all")]
    return f"{100 * known['retained'].iloc[0]:.0f} %"
