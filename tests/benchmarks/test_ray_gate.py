"""For how long workers wait, counted from when they held a slot."""

from __future__ import annotations

import pandas as pd
import pytest

from benchmarks.ray_gate.idle import idle, table


def test_full_slots_are_not_idle() -> None:
    found = idle([(0, 10), (0, 10), (10, 20), (10, 20)], begin=0, slots=2)
    assert (found.waited, found.later, found.until) == (0, 0, 20)


def test_what_comes_before_the_first_start_is_told_apart() -> None:
    # Three seconds of two slots until the first starts, four in which one of them waits on, and a
    # gap of one second.
    found = idle([(3, 13), (7, 13), (14, 20), (13, 20)], begin=0, slots=2)
    assert found.until == 28
    assert found.waited == 6 + 4 + 1
    assert found.later == 4 + 1


def test_after_the_last_start_nothing_counts() -> None:
    assert idle([(0, 5), (0, 100)], begin=0, slots=2).waited == 0


def test_table_has_medians_and_shares() -> None:
    row = {"gated": True, "round": 0, "candidates": 64, "started": 10, "wall_s": 100.0}
    rows = [{**row, "waited": w, "later": w / 2, "until": 100.0} for w in (1.0, 2.0, 9.0)]
    (line,) = table(pd.DataFrame(rows)).to_dict("records")
    assert line["idle before the last start"] == "2.0 s of 100 (2.0 %)"
    assert line["of that after the first"] == f"1.0 s ({100 / 99:.1f} %)"
    assert pytest.approx(10) == float(line["started"])
