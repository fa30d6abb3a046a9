"""Collect how well predictions agree with training: every network and data set in one table.

    python -m studies.agreement

Reads what the studies of phase diagrams left in ``results/…_agreement.csv``; writes
``agreement.md`` beside this file.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from benchmarks.tables import markdown

FOLDER = Path(__file__).parent
FAMILIES = {
    "dnn_phase_diagram": "tanh MLP",
    "dnn_phase_diagram/shrinking": "tanh MLP, shrinking",
    "cnn_phase_diagram": "tanh CNN",
    "resnet_phase_diagram": "tanh ResNet",
}
PREDICTORS = ("trainability", "retained information", "paper's cutoff", "mean field")


def collected(folder: Path) -> pd.DataFrame:
    """A line a network, scale, data set and loss; a column a predictor and a measure."""
    rows = []
    for place, family in FAMILIES.items():
        for path in sorted((folder / place / "results").glob("*_agreement.csv")):
            table = pd.read_csv(path, dtype=str, keep_default_na=False)
            for (data, loss), part in table.groupby(["data", "loss"], sort=False):
                known = part.set_index("predictor")
                row = {
                    "network": family,
                    "scale": path.name.split("_")[0],
                    "data": data,
                    "outputs": {"plain": "logits", "paper": "the paper's"}[str(loss)],
                    "train": f"{part['that train'].iloc[0]} of {part['networks'].iloc[0]}",
                    "above": part["above"].iloc[0],
                }
                for measure in ("AUROC", "Spearman"):
                    for predictor in PREDICTORS:
                        found = known[measure].get(predictor, "")
                        row[f"{measure}, {predictor}"] = found
                row["k"] = known["k"].get("mean field", "")
                rows.append(row)
    return pd.DataFrame(rows)


def main() -> None:
    """Write ``agreement.md``."""
    text = (
        '# Predicted and trained\n\nOver the trained networks: AUROC for "trains" (test accuracy '
        "above that given), and over σ_w² the Spearman correlation of the predicted depth with "
        "that of the deepest network that trains; 95 % intervals by resampling σ_w². k: "
        "correlation lengths of mean field that a trainable network is deep, fitted on the "
        "networks that it is judged by. Scales are those of each study.\n\n"
        f"{markdown(collected(FOLDER))}\n"
    )
    (FOLDER / "agreement.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
