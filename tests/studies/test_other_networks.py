from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch

from studies.other_networks import study
from tests.browser import looked_at, needs_chromium


@pytest.mark.parametrize("family", study.FAMILIES)
def test_each_family_has_the_depth_that_is_asked_for(family: str) -> None:
    images = torch.rand(5, 1, 8, 8)
    counts = []
    for depth in (2, 3):
        model = study.FAMILIES[family](64, depth)
        assert model(images).shape == (5, 10)
        counts.append(sum(weight.dim() >= 2 for weight in model.parameters()))
    per_layer = 4 if "transformer" in family else 1
    assert counts[1] - counts[0] == per_layer


def test_layers_of_a_transformer_are_initialized_one_by_one() -> None:
    model = study.FAMILIES["transformer, pre-LN"](64, 2)
    first, second = (
        model.get_parameter(f"encoder.layers.{i}.linear1.weight").detach() for i in (0, 1)
    )
    assert not torch.equal(first, second)


def test_verdicts_and_trainings_are_counted() -> None:
    table = pd.DataFrame(
        {
            "family": "a",
            "depth": [2, 4, 8, 16],
            "trainable": [True, False, True, False],
            "accuracy": [0.9, 0.9, 0.1, 0.1],
        }
    )
    row = study.summary(table).iloc[0]
    assert row["trains to depth"] == 4
    assert row["kept to depth"] == 8
    assert row["condemned though they train"] == row["kept though they do not"] == 1


@needs_chromium
def test_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    families = dict(list(study.FAMILIES.items())[:4])
    monkeypatch.setattr(study, "FAMILIES", families)
    monkeypatch.setattr(study, "EPOCHS", {"quick": 1})
    monkeypatch.setattr(study, "DEPTHS", {"quick": (2, 30)})
    study.run(quick=True, out=tmp_path)
    assert len(pd.read_csv(tmp_path / "quick_digits.csv")) == 8
    assert "ReLU, critical" in (tmp_path / "quick_digits.md").read_text()
    looked_at(tmp_path / "quick_digits.html")
