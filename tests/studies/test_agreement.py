from __future__ import annotations

from pathlib import Path

import pandas as pd

from recent_prune.data import load_digits
from studies.agreement import collected
from studies.dnn_phase_diagram.shrinking import SHRINKING, build


def test_a_line_a_network_data_set_and_loss(tmp_path: Path) -> None:
    folder = tmp_path / "dnn_phase_diagram" / "shrinking" / "results"
    folder.mkdir(parents=True)
    rows = [
        {
            "data": "digits",
            "loss": loss,
            "predictor": predictor,
            "networks": 9,
            "that train": 4,
            "above": 0.4,
            "AUROC": f"0.{i}",
            "Spearman": "",
            "k": "6.5" if predictor == "mean field" else "",
        }
        for loss in ("paper", "plain")
        for i, predictor in enumerate(("retained information", "mean field"))
    ]
    pd.DataFrame(rows).to_csv(folder / "quick_digits_agreement.csv", index=False)
    table = collected(tmp_path)
    assert table["network"].tolist() == ["tanh MLP, shrinking"] * 2
    assert table["outputs"].tolist() == ["the paper's", "logits"]
    first = table.iloc[0]
    assert (first["scale"], first["train"], first["k"]) == ("quick", "4 of 9", "6.5")
    assert first["AUROC, mean field"] == "0.1"
    assert first["AUROC, paper's cutoff"] == ""


def test_shrinking_networks_shrink_linearly() -> None:
    model = build(load_digits(), SHRINKING["quick"], 1.0, 6, 0)
    widths = [m.out_features for m in model.modules() if hasattr(m, "out_features")]
    assert widths == [64, 55, 46, 37, 28, 19, 10]
