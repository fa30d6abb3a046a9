from __future__ import annotations

import pytest

from tests.rules.results import result


@pytest.mark.parametrize(
    ("depth", "most", "expected"),
    [(1, 7, [0]), (3, 7, [0, 1, 2]), (9, 3, [0, 4, 8]), (50, 1, [0]), (4, 3, [0, 2, 3])],
)
def test_layers_are_spread_evenly(depth: int, most: int, expected: list[int]) -> None:
    assert result([0.5] * depth).spread(most) == expected
