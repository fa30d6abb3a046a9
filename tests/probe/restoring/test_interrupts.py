from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from recent_prune.probe.restoring.interrupts import interrupts_waiting, putting_back


@pytest.fixture(autouse=True)
def _listening() -> Iterator[None]:
    """A shell that starts the tests in the background has interrupts ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


@putting_back
def breaking(told: list[str], before: bool = False) -> Iterator[None]:
    """An interrupt comes while it puts things back, or while it remembers them."""
    if before:
        ctrl_c()
        told.append("remembered")
    try:
        yield
    finally:
        ctrl_c()
        told.append("put back")


@pytest.mark.parametrize("before", [False, True])
def test_an_interrupt_waits_until_all_is_put_back(before: bool) -> None:
    handler, told = signal.getsignal(signal.SIGINT), list[str]()
    with (
        pytest.raises(KeyboardInterrupt, match=r"^$"),
        interrupts_waiting(),
        breaking(told, before),
    ):
        told.append("inside")
    assert told == ["remembered"] * before + ["inside", "put back"]
    assert signal.getsignal(signal.SIGINT) is handler


def test_it_covers_an_error_that_was_on_its_way() -> None:
    told: list[str] = []
    with (
        pytest.raises(KeyboardInterrupt, match=r"^$") as caught,
        interrupts_waiting(),
        breaking(told),
    ):
        raise ValueError("mine")
    assert isinstance(caught.value.__context__, ValueError)
    assert told == ["put back"]


def test_within_others_it_waits_for_the_outermost() -> None:
    told: list[str] = []

    @putting_back
    def outer() -> Iterator[None]:
        try:
            with interrupts_waiting():
                yield
        finally:
            told.append("outer put back")

    with (
        pytest.raises(KeyboardInterrupt, match=r"^$"),
        interrupts_waiting(),
        outer(),
        interrupts_waiting(),
        breaking(told),
    ):
        pass
    assert told == ["put back", "outer put back"]


def test_an_interrupt_of_what_is_inside_does_not_wait() -> None:
    told: list[str] = []

    @putting_back
    def manager() -> Iterator[None]:
        yield
        told.append("not reached")

    with pytest.raises(KeyboardInterrupt, match=r"^$"), interrupts_waiting(), manager():
        ctrl_c()
    assert told == []


def test_other_threads_and_handlers_of_others_are_left_alone() -> None:
    found: list[object] = []

    def look() -> None:
        with interrupts_waiting():
            found.append(signal.getsignal(signal.SIGINT))

    handler = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    ignored = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        look()
    finally:
        signal.signal(signal.SIGINT, ignored)
    assert found == [handler, signal.SIG_IGN]
