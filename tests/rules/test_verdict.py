from __future__ import annotations

import json
import math

import numpy as np
import pytest

from recent_prune.rules import Verdict


@pytest.mark.parametrize("violation", [math.nan, math.inf, -math.inf, 1.1, -1.1])
def test_violations_are_finite_and_bounded(violation: float) -> None:
    with pytest.raises(ValueError, match=r"`violation` must lie in \[-1, 1\], but got"):
        Verdict(violation <= 0, violation, "…")


def test_numbers_of_numpy_become_plain() -> None:
    verdict = Verdict(np.bool_(False), np.float32(0.25), "…")  # type: ignore[arg-type]
    assert json.dumps([verdict.trainable, verdict.violation]) == "[false, 0.25]"


@pytest.mark.parametrize(("trainable", "violation"), [(True, 0.1), (False, 0.0), (False, -0.1)])
def test_violation_and_verdict_must_agree(trainable: bool, violation: float) -> None:
    with pytest.raises(ValueError, match=f"but got {violation} with trainable={trainable}"):
        Verdict(trainable, violation, "…")
