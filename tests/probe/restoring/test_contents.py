from __future__ import annotations

from collections import OrderedDict, deque
from typing import Any

import numpy as np
import pytest
import torch

from recent_prune.probe.restoring import contents
from recent_prune.probe.restoring.contents import kept_content


@pytest.mark.parametrize(
    "own",
    [
        [1, [2]],
        {1, 2},
        deque([1, 2], maxlen=2),
        {"a": 1, "b": 2},
        OrderedDict(a=1),
        np.array([np.nan, -0.0]),
        torch.tensor([torch.nan, -0.0]),
    ],
    ids=lambda own: type(own).__name__,
)
def test_what_is_in_it_comes_back(own: Any) -> None:
    before, put = repr(own), kept_content(own)
    assert put is not None
    if isinstance(own, (np.ndarray, torch.Tensor)):
        own += 1
    else:
        own.clear()
    assert repr(own) != before
    put()
    assert repr(own) == before


def test_what_has_none() -> None:
    assert kept_content(3) is None
    assert kept_content((1, 2)) is None


def test_arrays_that_are_large_or_cannot_be_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.zeros(2)
    array.flags.writeable = False
    assert kept_content(array) is None
    monkeypatch.setattr(contents, "LARGEST_ARRAY", 8)
    assert kept_content(np.zeros(2)) is None
    assert kept_content(np.zeros(1)) is not None
