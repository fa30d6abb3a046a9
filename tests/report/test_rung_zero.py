from __future__ import annotations

import pandas as pd
import pytest

from recent_prune.report.rung_zero import ranked, stopped


def trials(values: list[float | None]) -> pd.DataFrame:
    """Candidates with rising scores; those without a value were stopped, the last condemned."""
    count = len(values)
    return pd.DataFrame(
        {
            "trainable": [True] * (count - 1) + [False],
            "stopped": [value is None for value in values],
            "state": ["PRUNED" if value is None else "COMPLETE" for value in values],
            "rank_score": [0.1 * i for i in range(count)],
            "value": [float("nan") if value is None else value for value in values],
        }
    )


def test_condemned_trials_are_not_counted_as_stopped() -> None:
    assert list(stopped(trials([None, 1.0, None]))) == [True, False, False]


@pytest.mark.parametrize(("minimized", "expected"), [(True, "-0.90"), (False, "0.90")])
def test_the_worth_of_the_ranking(minimized: bool, expected: str) -> None:
    told = ranked(trials([None, 1.0, 2.0, 3.0, 5.0, 4.0, None]), minimized)
    assert told == (
        "1 (14%); of the 5 that were trained, score and value have a rank correlation of "
        f"{expected}"
    )


def test_of_few_nothing_is_said() -> None:
    assert ranked(trials([None, 1.0, 2.0]), False) == "1 (33%)"
