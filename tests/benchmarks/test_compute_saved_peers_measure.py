"""What is measured of other people's searches, and how it is told."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.compute_saved.optuna_replay import Ran
from benchmarks.compute_saved.outcome import costs, values
from benchmarks.compute_saved.peers import measure
from benchmarks.compute_saved.peers.methods import LOSS, METHODS, PEERS, RANDOM, behind
from benchmarks.compute_saved.peers.page import (
    OURS,
    best_peer,
    best_values,
    compared,
    goals,
    page,
    ratios,
)
from benchmarks.compute_saved.rung_zero import SPACES
from benchmarks.compute_saved.table import Trained, load


@pytest.fixture(scope="module")
def trained() -> Trained:
    return load("wild_cifar10")


def test_enough_is_target_and_budget(trained: Trained) -> None:
    ran = [Ran(i, trained.epochs, probed=i == 1) for i in range(30)]
    spent, best = costs(trained, ran, "flops").cumsum(), np.maximum.accumulate(trained.final[:30])
    enough = measure.Enough(trained, float(best[9]), float(spent[19]))
    ended = [enough(ran[: i + 1]) for i in range(30)]
    assert ended.index(True) == 19
    enough = measure.Enough(trained, float(best[-1]), 0.0)
    ended = [enough(ran[: i + 1]) for i in range(30)]
    assert ended.index(True) == int((values(trained, ran) >= best[-1]).argmax())


def test_targets_are_random_searchs_means(trained: Trained) -> None:
    rng = np.random.default_rng(5)
    bests = [trained.final[rng.permutation(60)[:12]].max() for _ in range(400)]
    assert measure.target(trained, 12) == pytest.approx(np.mean(bests), abs=0.02)
    assert measure.target(trained, 24) > measure.target(trained, 12)


def test_what_is_measured_of_a_run(trained: Trained) -> None:
    best, worst = int(trained.final.argmax()), int(trained.final.argmin())
    ran = [Ran(worst, 0, probed=True, condemned=True), Ran(best, 2, probed=True)]
    row = measure.measured(trained, [*ran, Ran(best, trained.epochs, since=2)])
    spent = trained.seconds[best, -1] + trained.probe_seconds[[best, worst]].sum()
    assert row["reached_24"] is True
    assert row["seconds_24"] == pytest.approx(spent / trained.seconds[:, -1].mean(), rel=1e-4)
    assert (row["candidates_12"], row["trainings_12"]) == (2, 1)
    missed = measure.measured(trained, [Ran(worst, trained.epochs)])
    assert missed["reached_12"] is False
    whole = trained.flops[worst, -1] / trained.flops[:, -1].mean()
    assert missed["flops_12"] == pytest.approx(whole, rel=1e-4)


def test_the_best_at_a_cost(trained: Trained) -> None:
    ran = [Ran(3, trained.epochs), Ran(4, trained.epochs)]
    ends = costs(trained, ran, "flops").cumsum()
    assert measure.best_at(trained, ran, ends[0] / 2) == 0
    assert measure.best_at(trained, ran, ends[0] * 1.01) == round(float(trained.final[3]), 4)


def test_a_run_is_a_row() -> None:
    alone = measure.run(("wild_cifar10", RANDOM, 0))
    ranked = measure.run(("wild_cifar10", OURS, 0))
    assert alone["rung_zero"] == ""
    assert len(str(ranked["rung_zero"])) == 8
    assert alone["best"] == round(float(alone["best"]), 4)  # type: ignore[arg-type]
    assert ranked["flops_12"] != alone["flops_12"]
    assert ranked["candidates_12"] > ranked["trainings_12"]  # type: ignore[operator]


def test_rows_of_another_rung_zero_are_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "RUNS", tmp_path / "peers.csv")
    assert measure.kept().empty
    today = measure._rung_zero_of("wild_cifar10")
    rows = [
        {"space": "wild_cifar10", "method": m, "seed": s, "rung_zero": stamp, "best": best}
        for m, s, stamp, best in [
            (OURS, 1, today, 0.4),
            (OURS, 0, "00000000", 0.4),
            ("GP", 0, "", math.nan),
            (RANDOM, 0, "", 0.4),
            ("what is no more", 0, "", 0.4),
        ]
    ]
    pd.DataFrame(rows[:4]).to_csv(measure.RUNS, index=False)
    measure.write(pd.read_csv(measure.RUNS).fillna({"rung_zero": ""}))
    with measure.RUNS.open("a", encoding="utf-8") as file:
        pd.DataFrame(rows[4:]).to_csv(file, header=False, index=False)
    found = measure.kept()
    assert found[["method", "seed"]].to_numpy().tolist() == [[RANDOM, 0], ["GP", 0], [OURS, 1]]
    assert found["best"].dtype == float


def test_what_is_missing_is_run_seed_by_seed() -> None:
    known = pd.DataFrame({"space": ["everyday"], "method": [RANDOM], "seed": [0]})
    jobs = list(measure.missing([RANDOM, "GP"], None, known))
    assert ("everyday", RANDOM, 0) not in jobs
    assert jobs[0] == ("default", RANDOM, 0)
    assert [seed for *_, seed in jobs] == sorted(seed for *_, seed in jobs)
    assert sum(m == "GP" for _, m, _ in jobs) == 6 * PEERS["GP"].seeds
    assert len(list(measure.missing([RANDOM], 3, known))) == 17
    assert list(measure.missing([RANDOM], 0, known)) == []


def rows_of(**costs_of: list[float]) -> pd.DataFrame:
    """Runs of methods in every space, by what they cost in each seed."""
    rows = [
        {
            "space": space,
            "method": method,
            "seed": seed,
            "best": 0.9 + 0.01 * (method == OURS),
            "took": 0.5,
            **{f"{u}_{t}": cost for u in ("flops", "seconds") for t in (12, 24)},
            **{f"reached_{t}": cost < 90 for t in (12, 24)},
        }
        for space in SPACES
        for method, per_seed in costs_of.items()
        for seed, cost in enumerate(per_seed)
    ]
    return pd.DataFrame(rows)


def test_a_comparison_says_what_was_missed() -> None:
    runs = rows_of(**{RANDOM: [10.0] * 20, "TPE": [5.0] * 19 + [95.0]})
    part = runs[runs["space"] == "slow"]
    text = compared(part, "TPE", RANDOM, "flops_12")
    assert text.startswith("0.95 [0.50, ")
    assert text.endswith("], 1 missed")
    assert compared(part, "GP", RANDOM, "flops_12") == "–"


def test_what_misses_often_has_no_say_in_the_mean() -> None:
    runs = rows_of(**{RANDOM: [10.0] * 20, "TPE": [5.0] * 20, "GP": [1.0] * 20})
    often = (runs["method"] == "GP") & (runs["space"] != "slow") & (runs["seed"] < 5)
    runs.loc[often, "reached_12"] = False
    table = ratios(runs, {"TPE": ("TPE", RANDOM), "GP": ("GP", RANDOM)}, "flops_12")
    assert table["mean"].tolist() == ["0.50", "0.10 of 1"]
    assert table["everyday"].tolist() == ["0.50 [0.50, 0.50]", "(0.10 [0.10, 0.10], 5 missed)"]
    assert best_peer(runs, "flops_12") == {
        **dict.fromkeys(SPACES, "TPE"),
        "slow": "GP",
    }


def test_the_questions_are_answered_by_the_best_peer() -> None:
    few = {"GP": [1.0] * 3, behind("GP"): [0.5] * 3}  # too few seeds to be the best
    runs = rows_of(
        **{RANDOM: [10.0] * 20, OURS: [3.0] * 20, LOSS: [4.0] * 20},
        **{"TPE": [8.0] * 20, behind("TPE"): [2.0] * 20},
        **few,
    )
    table = goals(runs).set_index("question")
    assert table.loc["that peer", "everyday"] == "TPE"
    assert table.loc["rung zero + best peer / best peer", "slow"] == "0.25 [0.25, 0.25]"
    assert table.loc["rung zero + best peer / best peer", "mean"] == "0.25"
    assert table.loc["rung zero + TPE / rung zero", "slow"] == "0.67 [0.67, 0.67]"
    assert table.loc["rung zero / loss after the same steps", "slow"] == "0.75 [0.75, 0.75]"
    assert table.loc["rung zero / early look", "slow"] == "–"
    runs.loc[(runs["method"] == "GP") | (runs["seed"] > 15), "best"] = math.nan
    values = best_values(runs, [OURS, "TPE", "GP", "CMA-ES"]).set_index("method")
    assert list(values.index) == [OURS, "TPE"]
    assert values.loc[OURS, "slow"] == "+0.0100 [+0.0100, +0.0100]"
    text = page(runs)
    assert "| TPE | 0.80 [0.80, 0.80] |" in text
    assert "| keep 1/8 + TPE | 0.20 [0.20, 0.20] |" in text


def test_only_missing_ones_are_run_and_the_page_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(measure, "FOLDER", tmp_path)
    monkeypatch.setattr(measure, "RUNS", tmp_path / "peers.csv")
    monkeypatch.setattr(measure, "SPACES", ("wild_cifar10",))
    monkeypatch.setattr(measure, "is_there", lambda name: name != "GP")
    monkeypatch.setattr(measure, "page", lambda rows: f"{len(rows)} runs")
    # Threads: a process takes seconds to begin.
    monkeypatch.setattr(
        measure, "ProcessPoolExecutor", lambda workers, mp_context: ThreadPoolExecutor(workers)
    )
    measure.main(only=[RANDOM, OURS, "GP"], seeds=2, workers=1)
    assert "Left out, since their packages are not installed: GP." in capsys.readouterr().out
    first = pd.read_csv(tmp_path / "peers.csv")
    assert first[["method", "seed"]].to_numpy().tolist() == [
        [RANDOM, 0],
        [RANDOM, 1],
        [OURS, 0],
        [OURS, 1],
    ]
    measure.main(only=[RANDOM], seeds=3, workers=1)
    again = pd.read_csv(tmp_path / "peers.csv")
    assert len(again) == 5
    assert again["took"].tolist()[:2] == first["took"].tolist()[:2]  # kept, not run again
    again.assign(took=99.0).to_csv(tmp_path / "peers.csv", index=False)
    measure.main(only=[RANDOM], seeds=1, again=True, workers=1)
    afresh = pd.read_csv(tmp_path / "peers.csv")
    assert afresh["method"].tolist() == [RANDOM, OURS, OURS]
    assert (afresh["took"] == 99).tolist() == [False, True, True]
    measure.main(only=[RANDOM], seeds=60, minutes=0, workers=1)  # one, and those at hand
    assert 4 <= len(pd.read_csv(tmp_path / "peers.csv")) < 50
    told = len(pd.read_csv(tmp_path / "peers.csv"))
    assert (tmp_path / "peers.md").read_text("utf-8") == f"{told} runs"
    assert set(again["method"]) <= set(METHODS)
