from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from studies.common.points import collected


def test_what_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    asked: list[int] = []

    def measure(point: int) -> pd.DataFrame:
        asked.append(point)
        if point == 3 and asked.count(3) == 1:
            raise KeyboardInterrupt("at the third")
        return pd.DataFrame({"point": [point], "square": [point**2]})

    points = {f"p{number}": number for number in (1, 2, 3)}
    with pytest.raises(KeyboardInterrupt, match="at the third"):
        collected(points, measure, tmp_path / "points", "Measuring")
    table = collected(points, measure, tmp_path / "points", "Measuring")
    assert asked == [1, 2, 3, 3]
    assert table["square"].tolist() == [1, 4, 9]


def test_a_file_that_was_not_finished_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "p1.partial").write_text("point\n")
    table = collected({"p1": 1}, lambda point: pd.DataFrame({"point": [point]}), tmp_path, "")
    assert table["point"].tolist() == [1]
