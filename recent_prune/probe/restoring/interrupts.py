"""Let an interrupt (Ctrl-C) wait while something is put back, or it would stay half as it was."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import CodeType, FrameType
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_MANAGER = contextlib._GeneratorContextManager
_AROUND = {_MANAGER.__enter__.__code__, _MANAGER.__exit__.__code__}
_PUTTING_BACK: set[CodeType] = set()


def putting_back(
    function: Callable[P, Iterator[T]],
) -> Callable[P, AbstractContextManager[T]]:
    """A context manager into whose own code, not what is inside of it, no interrupt breaks.

    That holds within :func:`interrupts_waiting`.
    """
    _PUTTING_BACK.add(function.__code__)
    return contextmanager(function)


@contextmanager
def interrupts_waiting() -> Iterator[None]:
    """Inside, an interrupt that comes while something is put back is raised on leaving.

    All others are raised at once. Python runs handlers of signals in its main thread alone, so in
    others there is nothing to do.
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    waiting: list[FrameType | None] = []

    def wait(number: int, frame: FrameType | None) -> None:
        if _is_putting_back(frame):
            waiting.append(frame)
        else:
            handler(number, frame)

    try:
        signal.signal(signal.SIGINT, wait)
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if waiting:
            handler(signal.SIGINT, waiting.pop())


def _is_putting_back(frame: FrameType | None) -> bool:
    while frame is not None:
        code = frame.f_code
        if code in _AROUND:  # has begun, or is about to
            code = frame.f_locals["self"].gen.gi_code
        if code in _PUTTING_BACK:
            return True
        frame = frame.f_back
    return False


_PUTTING_BACK.add(interrupts_waiting.__wrapped__.__code__)  # type: ignore[attr-defined]
