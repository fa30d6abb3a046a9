from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch

from benchmarks.preflight.child import OPTIMIZERS, estimated
from benchmarks.preflight.measure import rows
from benchmarks.preflight.memory import peak
from benchmarks.preflight.models import Case, all_cases, held_out_cases, large_cases, plain
from benchmarks.preflight.report import report, with_errors

MIB = 2**20


def test_every_model_meets_every_size_and_every_optimizer_meets_every_size() -> None:
    cases = all_cases()
    assert len({case.name for case in cases}) == len(cases) >= 60
    found = pd.DataFrame(rows(cases))
    plain_rows = found[found["autocast"] == ""]
    assert (plain_rows.groupby("model")["batch"].nunique() == 3).all()
    assert (plain_rows.groupby("model")["optimizer"].nunique() == 3).all()
    assert set(found["optimizer"]) == set(OPTIMIZERS)
    assert found[found["autocast"] == "bfloat16"]["model"].nunique() == len(cases)


def test_what_is_held_out_is_none_of_the_others() -> None:
    names = {case.name for case in held_out_cases()}
    assert len(names) == len(held_out_cases()) >= 30
    assert not names & {case.name for case in [*all_cases(), *large_cases()]}
    assert {row["autocast"] for row in rows(held_out_cases(), 2)} == {"", "bfloat16"}


KINDS = [plain()[0], plain()[5], plain()[9]]


@pytest.mark.parametrize("case", KINDS, ids=lambda case: case.name)
def test_plain_models_are_estimated_at_their_batches(case: Case) -> None:
    found = estimated(case, {"batch": 2, "optimizer": "sgd", "autocast": ""}, torch.device("cpu"))
    assert found["method"] == "traced"
    assert found["estimated"] > found["estimated_parameters"] > 0


def test_large_cases_are_those_of_the_issue() -> None:
    assert [case.name for case in large_cases()] == ["ResNet-50", "BERT-base"]


def test_peak_sees_what_is_held_for_a_moment() -> None:
    def run() -> None:
        held = torch.ones(16 * MIB)  # 64 MiB
        del held

    assert peak(run, torch.device("cpu")) == pytest.approx(64 * MIB, abs=8 * MIB)


def test_page(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "library": ["plain", "plain", "timm"],
            "model": ["a", "b", "c"],
            "batch": [8, 8, 8],
            "optimizer": ["sgd", "adamw", "sgd"],
            "autocast": ["", "bfloat16", ""],
            "estimated": [90 * MIB, 20 * MIB, None],
            "estimated_libraries": [0, 5 * MIB, None],
            "measured": [100 * MIB, 40 * MIB, None],
            "predicted_s": [11.0, None, None],
            "training_s": [10.0, None, None],
            "error": [None, None, "ValueError: no"],
        }
    )
    table.to_csv(tmp_path / "rows_cpu.csv", index=False)
    cost = {"seconds": 2.0, "cpu_seconds": 1.0, "took": 10 * MIB, "parameters": 100 * MIB}
    table.assign(estimated=60 * MIB).to_csv(tmp_path / "rows_held_out_cpu.csv", index=False)
    (tmp_path / "costs_cpu.json").write_text(json.dumps({"ResNet-50": cost}))
    assert with_errors(table)["off"].tolist()[:2] == pytest.approx([-0.1, -0.5])
    report(tmp_path / "rows_cpu.csv", tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    assert "2 models, 2 rows; 1 failed." in page
    assert "| peak, median error, all rows (2) | ≤ 10% | 30.0% |" in page
    assert "| peak, median error, from 64 MiB on (1) | ≤ 10% | 10.0% |" in page
    assert "| whole training, median error (1) | ≤ 10% | 10.0% |" in page
    assert "| memory that it takes, of the parameters' | < 100% | 10 of 100 MiB |" in page
    assert "| of the third above 80 MiB, condemned at that limit |  | 1 of 1 |" in page
    assert "| condemned though they fit | 0 | 0 |" in page
    assert "ValueError: no" in page
    _, others = page.split("Models that nothing was fitted to")
    assert "2 models, 2 rows; 1 failed." in others
    assert "| peak, median error, all rows (2) | ≤ 10% | 45.0% |" in others
