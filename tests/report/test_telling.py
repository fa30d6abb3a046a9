from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import pytest

from recent_prune.report.telling import telling_parameters


def table(columns: Mapping[str, Sequence[object]]) -> pd.DataFrame:
    judged = [float(x) for x in range(8)]
    return pd.DataFrame({"violation": judged, "retained": judged, **columns})


def test_what_few_trials_have_tells_little() -> None:
    none = float("nan")
    probed = table(
        {
            "param:lr": [0.0, 1, 2, 3, 4, 7, 6, 5],
            "param:depth": [0, 2, 1, 4, 3, 5, 7, 6],
            "param:few": [none] * 5 + [5.0, 6, 7],
            "param:optimizer": ["Adam"] * 8,
        }
    )
    assert telling_parameters(probed) == ("depth", "lr")
    assert telling_parameters(probed[["violation", "retained", "param:lr", "param:few"]]) == (
        "lr",
        "few",
    )


@pytest.mark.parametrize("names", [[], ["param:one"]])
def test_there_must_be_two(names: list[str]) -> None:
    assert telling_parameters(table({name: list(range(8)) for name in names})) is None
