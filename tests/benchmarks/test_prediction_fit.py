from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from benchmarks.prediction import fit as fitting
from benchmarks.prediction.evaluate import auroc, log_odds
from benchmarks.prediction.fit import RANKED, cross_validated, doubled, fit, sample
from benchmarks.prediction.score import NUMBERS
from recent_prune.rules.profile_numbers import Question, trainability_model


def drawn(count: int) -> tuple[pd.DataFrame, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Networks whose log-odds rise with one number and have a peak in another."""
    numbers = np.random.default_rng(0)
    table = pd.DataFrame(numbers.uniform(-1, 1, (count, 2)), columns=["rising", "peaked"])
    odds = 2 * table["rising"] + 3 - 6 * table["peaked"].abs()
    return table, np.asarray(numbers.random(count) < expit(odds))


def test_finds_the_curves_that_trials_were_drawn_from() -> None:
    table, trains = drawn(5000)
    model = fit(table, trains, increasing=("rising",))
    rising, peaked = model.curves["rising"], model.curves["peaked"]
    assert rising(0.8) - rising(-0.8) == pytest.approx(3.2, abs=0.5)
    assert peaked(0.0) - peaked(0.8) == pytest.approx(4.8, abs=0.8)
    assert peaked(0.0) - peaked(-0.8) == pytest.approx(4.8, abs=0.8)
    # An average network has the intercept.
    mean = np.mean([list(model.contributions(row).values()) for row in _rows(table)], axis=0)
    assert mean == pytest.approx(0, abs=0.01)


def test_a_curve_that_must_not_fall_does_not() -> None:
    table, trains = drawn(500)
    model = fit(-table, trains, increasing=("rising",))
    heights = model.curves["rising"].heights
    assert max(heights) == pytest.approx(min(heights), abs=1e-9)
    assert fit(-table, trains, increasing=()).curves["rising"].heights[0] > 0.5


def test_agrees_with_a_logistic_regression_where_that_is_the_truth(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With two knots a number, the curves are straight lines: a textbook twin."""
    monkeypatch.setattr(fitting, "KNOTS", 2)
    monkeypatch.setattr(fitting, "RIDGE", 1.0)
    table, trains = drawn(400)
    model = fit(table, trains, increasing=())
    scaled = (table - table.min()) / (table.max() - table.min())
    twin = LogisticRegression(C=1.0, tol=1e-8).fit(scaled, trains)
    odds = [model(row) for row in _rows(table)]
    assert odds == pytest.approx(twin.decision_function(scaled), abs=5e-3)


@pytest.mark.parametrize("question", ["judge", "rank"])
def test_the_shipped_curves_are_those_of_the_kept_tables(question: Question) -> None:
    table = sample()
    numbers, trains = table[list(NUMBERS)], table["trains"].to_numpy()
    if question == "rank":
        numbers, trains = doubled()
    for response, names in ((True, NUMBERS), (False, [n for n in NUMBERS if n != "response"])):
        shipped = trainability_model(question, response=response)
        refitted = fit(numbers[list(names)], trains)
        assert list(shipped.curves) == list(names)
        assert shipped.intercept == pytest.approx(refitted.intercept, abs=0.02)
        for name, curve in shipped.curves.items():
            assert curve.knots == refitted.curves[name].knots
            assert curve.heights == pytest.approx(refitted.curves[name].heights, abs=0.02)


def test_what_sgd_alone_does_not_train_counts_half() -> None:
    numbers, trains = doubled()
    tuning = sample(["tuning"])
    again = trains[-len(tuning) :]
    assert len(numbers) == len(trains) == len(sample(RANKED)) + len(tuning)
    # It trains fewer, and nothing that no optimizer trains.
    assert again.sum() < tuning["trains"].sum()
    assert not (again & ~tuning["trains"].to_numpy()).any()


def test_networks_that_are_judged_by_others_are_judged_well() -> None:
    table = sample()
    found = cross_validated(table)
    assert auroc(table["trains"].to_numpy(), found) > 0.97


def test_numbers_that_are_not_finite_rank_last() -> None:
    table = sample()[list(NUMBERS)].head(2).copy()
    table.loc[0, "size"] = np.inf
    found = log_odds(table)
    assert found[0] == -1e38
    assert abs(found[1]) < 100


def _rows(table: pd.DataFrame) -> list[dict[str, float]]:
    return [{str(k): float(v) for k, v in row.items()} for row in table.to_dict("records")]
