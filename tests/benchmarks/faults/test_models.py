from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import recent_prune as rp
from benchmarks.faults import models
from benchmarks.faults.models.cases import Ran, drawn_case, run
from benchmarks.faults.models.checks import What, _details, checked
from recent_prune.probe import probing
from recent_prune.probe.batches import walk
from recent_prune.probe.first_steps import trial
from recent_prune.probe.watching.modules import unwrapped

FIXED = 60
"""Cases of the benchmark's own seed that run each time."""


@pytest.fixture(scope="module", autouse=True)
def _pythons_own_interrupts() -> Iterator[None]:
    """A sweep of Tune leaves a handler of its own behind, which does not raise."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def found_in(numbers: range, seed: int = 0) -> set[What]:
    return {finding.what for n in numbers for finding in checked(seed, n).findings}


def test_the_first_cases_show_no_fault() -> None:
    assert [str(f) for n in range(FIXED) for f in checked(0, n).findings] == []


@given(number=st.integers(0, 2**31))
def test_nor_does_any_other(number: int) -> None:
    assert [str(finding) for finding in checked(1, number).findings] == []


def test_a_case_is_the_same_each_time() -> None:
    one, other = drawn_case(0, 3), drawn_case(0, 3)
    assert str(one) == str(other)
    pairs = zip(one.models[0].parameters(), other.models[0].parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@contextmanager
def nothing_restored(model: Any, **_: object) -> Iterator[dict[int, torch.Tensor]]:
    yield {id(p): p.detach().clone() for p in model.parameters()}


def test_what_is_not_put_back_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (probing, trial):
        monkeypatch.setattr(module, "model_restored", nothing_restored)
    assert What.CHANGED in found_in(range(12))


def test_an_error_without_a_note_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def checked_batch(*_: object) -> None:
        raise IndexError("list index out of range")

    monkeypatch.setattr(walk, "check_batch", checked_batch)
    monkeypatch.setattr(probing, "gathered", lambda *_: walk.check_batch(None, 0))
    assert What.UNNAMED in found_in(range(4))


def test_what_is_left_in_memory_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[object] = []

    def holding(model: Any) -> Any:
        held.append(model)
        return unwrapped(model)

    monkeypatch.setattr(probing, "unwrapped", holding)
    assert What.LEFT in found_in(range(4))


def test_a_silent_verdict_would_be_noticed() -> None:
    drawn = (drawn_case(7, number) for number in range(50))
    plain = (case for case in drawn if not case.many and not case.fuse.place and not case.quirks)
    ran = ((case, run(case).outcomes[0]) for case in plain)
    case, result = next(pair for pair in ran if isinstance(pair[1], rp.ProbeResult))
    case.fuse.error, case.fuse.counted = None, 1
    found = list(_details(case, Ran([result], [], [])))
    assert [what for what, _ in found] == [What.SILENT]


def test_counts_until_time_is_up(capsys: pytest.CaptureFixture[str]) -> None:
    rows = models.measure(0, time.monotonic())
    assert [(row.what, row.counted) for row in rows] == [("cases", 0), *((w, 0) for w in What)]
    assert capsys.readouterr().err == ""
