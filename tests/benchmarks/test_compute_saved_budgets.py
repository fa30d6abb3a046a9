"""The same configurations, trained for longer: what is compared."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks.compute_saved import budgets
from benchmarks.compute_saved.rung_zero import target
from benchmarks.compute_saved.spaces import LONGER, SPACES
from benchmarks.compute_saved.table import Trained, load


@pytest.fixture(scope="module")
def short() -> Trained:
    everyday = load("everyday")
    return everyday.subset(np.arange(len(everyday)) < 40, "some")


def test_the_longer_space_holds_the_same_configurations() -> None:
    longer, everyday = LONGER[budgets.LONG].sample(), SPACES["everyday"].sample()
    assert longer == everyday[: len(longer)]
    assert LONGER[budgets.LONG].epochs == 10 * SPACES["everyday"].epochs


def test_the_score_is_told_the_budget(short: Trained) -> None:
    as_trained, longer = budgets.ranked(short, short.epochs), budgets.ranked(short, 400)
    assert as_trained.shape == longer.shape == (40,)
    assert (as_trained != longer).any()
    assert (as_trained <= 1).all()


def test_quality_of_the_ranking_by_the_epochs(
    short: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budgets, "LOOKED_AT", (1, 4))
    table = budgets.quality(short)
    assert table["epochs"].tolist() == [1, 4]
    assert table["best of all"].tolist() == [
        f"{short.accuracy[:, epochs - 1].max():.3f}" for epochs in (1, 4)
    ]
    assert (table["Spearman"].astype(float) > 0.3).all()


def test_shares_are_ratios_of_mean_costs() -> None:
    runs = pd.DataFrame(
        {
            "trained for": name,
            "method": method,
            "seed": seed,
            "cost": cost * factor,
            "reached": method == "random" or seed > 0,
        }
        for name, factor in (("4 epochs", 1.0), ("40 epochs", 3.0))
        for method, cost in {m: 1.0 if m == "random" else 0.5 for m in budgets.METHODS}.items()
        for seed in range(3)
    )
    table = budgets.shares(runs)
    assert len(table) == len(budgets.METHODS) - 1
    assert set(table["40 epochs"]) == {"0.50 [0.50, 0.50], 1 missed"}


def test_the_aim_is_the_mean_best_of_random_searches(short: Trained) -> None:
    aim = target(short, 20)
    assert np.sort(short.final)[-20] < aim <= short.final.max()
