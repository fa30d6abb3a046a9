"""Long studies: what is told of them, and a short one for real."""

from __future__ import annotations

import math

import pytest

from benchmarks.faults import long_runs
from benchmarks.faults.long_runs import Case, Run, figures, run_case


def told(case: Case, run: Run, before: dict[Case, Run]) -> dict[str, float]:
    return {row.what: row.counted for row in figures(case, run, before, probe=10.0)}


def test_what_a_study_comes_to_beside_plain_optuna() -> None:
    case = Case("keep=1/8", "memory", 1000)
    run = Run(1000, early=2.0, late=5.0, grown=12.0, stored=math.nan, audits=(0.1, 0.2))
    beside = Run(500, early=1.0, late=1.0, grown=4.0, stored=math.nan, audits=(math.nan,) * 2)
    found = told(case, run, {Case("attributes", "memory", 1000): beside})
    assert found["a trial with its probe, last over 100th"] == 15 / 12
    assert found["MiB beyond Optuna with such attributes"] == 12.0 - 8.0
    assert found["the same, all over the first tenth"] == 2
    assert "bytes a trial on disk" not in found


def test_of_plain_optuna_nothing_is_wanted() -> None:
    case = Case("plain", "journal", 1000)
    run = Run(1000, 2.0, 5.0, 12.0, stored=300.0, audits=(math.nan,) * 2)
    assert [row.goal for row in figures(case, run, {}, 10.0)] == [""] * 4
    assert told(case, run, {})["bytes a trial on disk"] == 300


@pytest.mark.parametrize("judged", ["attributes", "keep=1/8", "CertifiedRule"])
def test_a_short_one(judged: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_runs, "WINDOW", 10)
    run = run_case(Case(judged, "journal", 60), seed=0, seconds=10_000)
    assert run.trials == 60
    assert run.stored > 1000
    assert min(run.early, run.late) > 0
    assert math.isnan(run.audits[1]) == (judged == "attributes")


def test_what_there_was_no_time_for_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_runs, "WINDOW", 10)
    case = Case("plain", "memory", 200)
    run = run_case(case, seed=0, seconds=0)
    assert run.trials == 22
    assert figures(case, run, {}, 1.0)[0].note == "time was up after 22 trials"
