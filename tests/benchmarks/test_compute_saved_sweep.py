from __future__ import annotations

import pandas as pd
import pytest

from benchmarks.compute_saved.sweep import BEHIND, CONDEMNED, EXPLORED, FOLDER, SPACE, TRAINED, rows
from benchmarks.compute_saved.table import load

CANDIDATES = 32


@pytest.fixture(scope="module")
def found() -> pd.DataFrame:
    return rows(load(SPACE), CANDIDATES, seed=1)


def test_each_candidate_has_an_outcome(found: pd.DataFrame) -> None:
    assert found["candidate"].to_list() == list(range(CANDIDATES))
    assert set(found["outcome"]) <= {TRAINED, EXPLORED, BEHIND, CONDEMNED}
    assert found["outcome"].isin([TRAINED, EXPLORED]).sum() < CANDIDATES / 2
    assert found["outcome"].eq(CONDEMNED).any()


def test_the_end_of_each_is_that_of_its_training(found: pd.DataFrame) -> None:
    table = load(SPACE)
    rates = [known["learning_rate"] for known in table.parameters]
    for rate, accuracy in zip(found["learning_rate"], found["accuracy"], strict=True):
        assert accuracy == table.final[rates.index(rate)]


def test_the_recorded_one_has_the_same_columns(found: pd.DataFrame) -> None:
    recorded = pd.read_csv(FOLDER / f"{SPACE}_sweep.csv")
    assert list(recorded.columns) == list(found.columns)
