"""What goes wrong, and when: a fuse burns at the n-th call of a place."""

from __future__ import annotations

import random
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from torch import Tensor

NO_MEMORY = (
    "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you "
    "tried to allocate 68719476736 bytes. Error code 12 (Cannot allocate memory)"
)
"""What PyTorch says where main memory has run out."""


class OwnError(Exception):
    """An exception of a user's, with more than a message."""

    def __init__(self, code: int, where: str) -> None:
        super().__init__(code, where)
        self.code = code


ERRORS: dict[str, Any] = {
    "RuntimeError": lambda: RuntimeError("the fuse has burnt"),
    "ValueError": lambda: ValueError("the fuse has burnt"),
    "KeyError": lambda: KeyError("the fuse has burnt"),
    "AssertionError": AssertionError,
    "StopIteration": StopIteration,
    "own error": lambda: OwnError(7, "the fuse has burnt"),
    "out of memory, device": lambda: torch.OutOfMemoryError("CUDA out of memory."),
    "out of memory, host": lambda: RuntimeError(NO_MEMORY),
    "MemoryError": MemoryError,
    "KeyboardInterrupt": KeyboardInterrupt,
    "SystemExit": lambda: SystemExit(3),
}
"""By name, a function that makes the error."""

RAISING = (
    *("forward", "forward", "backward", "loss", "step", "loader", "factory", "scheduler"),
    *("forward hook", "pre-hook", "backward hook", "global hook", "step hook", "gradient hook"),
)
"""Places that raise."""

SPOILING = ("forward", "backward", "loss", "step")
"""Places that give NaN or infinity."""

LAST_LINE = 6000
"""Of the probe's lines, the last at which a case is interrupted from outside."""


class Fuse:
    """Burns at the n-th call of its place, once or from then on.

    Args:
        place: One of `RAISING` or `SPOILING`, or "line": anywhere in the probe's own code; "" burns
            never.
        number: Of the call, from 1 on.
        error: Makes what is raised; None where the place gives numbers that are not finite.
        value: These.
        lasting: Whether it burns at all later calls, too.

    Attributes:
        fired: How often.
        counted: How often in what a verdict rests on: not where the probe asks for a critical rate,
            or a loss about a constant prediction, neither of which is the trial's.
        raised: The errors that were raised, in order.
    """

    # What a probe does not put back: it must remember that it has burnt.
    __slots__ = (
        "__weakref__",
        "armed",
        "calls",
        "counted",
        "error",
        "fired",
        "lasting",
        "number",
        "place",
        "raised",
        "value",
    )

    def __init__(
        self,
        place: str = "",
        number: int = 1,
        error: str | None = None,
        value: float = float("nan"),
        *,
        lasting: bool = False,
    ) -> None:
        self.place, self.number, self.error, self.value = place, number, error, value
        self.lasting = lasting
        self.calls = self.fired = self.counted = 0
        self.armed = False
        self.raised: list[BaseException] = []

    def __repr__(self) -> str:
        """As it is told in a finding."""
        what = self.error or self.value
        return f"{what} in {self.place} #{self.number}{'+' * self.lasting}" if self.place else "-"

    def burns(self, place: str) -> bool:
        """Count a call; whether this is the one."""
        if not self.armed or place != self.place:
            return False
        self.calls += 1
        burnt = self.calls == self.number or (self.lasting and self.calls > self.number)
        if burnt:
            self.fired += 1
            self.counted += not _is_aside(sys._getframe())
        return burnt

    def raising(self, place: str) -> None:
        """A call of a place; raises if this is the one."""
        if self.error is not None and self.burns(place):
            self.raised.append(ERRORS[self.error]())
            raise self.raised[-1]

    def spoiled(self, place: str, tensor: Tensor) -> Tensor:
        """What passes, with a number in it that is not finite if this is the call."""
        if self.error is None and self.burns(place) and tensor.numel():
            spoilt = torch.zeros(tensor.numel(), dtype=tensor.dtype)
            spoilt[self.calls % len(spoilt)] = self.value
            return tensor + spoilt.reshape(tensor.shape).to(tensor.device)
        return tensor

    @contextmanager
    def lit(self) -> Iterator[None]:
        """Inside, it may burn."""
        self.armed = True
        before = sys.gettrace()
        if self.place == "line":
            sys.settrace(self._entered)
        try:
            yield
        finally:
            sys.settrace(before)
            self.armed = False

    def _entered(self, frame: FrameType, *_: object) -> Any:
        return self._line if "/recent_prune/probe/" in frame.f_code.co_filename else None

    def _line(self, frame: FrameType, event: str, *_: object) -> Any:
        """Interrupt as Ctrl-C does: by whatever handles the signal then."""
        if event == "line" and self.burns("line"):
            handler = signal.getsignal(signal.SIGINT)
            assert callable(handler)
            try:
                handler(signal.SIGINT, frame)
            except KeyboardInterrupt as error:
                self.raised.append(error)
                raise
        return self._line


def _is_aside(frame: FrameType | None) -> bool:
    """Whether the probe asks about what is not the trial's."""
    while frame is not None:
        if frame.f_code.co_name in ("advised", "constant_loss"):
            return True
        frame = frame.f_back
    return False


class Burning(torch.autograd.Function):
    """The identity, whose backward pass a fuse is in."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, fuse: Fuse) -> Tensor:
        """As it is."""
        ctx.fuse = fuse
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """As it is, if the fuse does not burn."""
        ctx.fuse.raising("backward")
        return ctx.fuse.spoiled("backward", gradient), None


def drawn_fuse(draw: random.Random) -> Fuse:
    """A fifth has none, a tenth is interrupted from outside, a fourth gives bad numbers."""
    kind, lasting = draw.random(), draw.random() < 0.5
    if kind < 0.2:
        return Fuse()
    if kind < 0.3:
        return Fuse("line", draw.randint(1, LAST_LINE), "KeyboardInterrupt")
    number = draw.choice((1, 1, 2, 2, 3, 4, 5, 6, 8, 12))
    if kind < 0.55:
        value = draw.choice((float("nan"), float("inf"), float("-inf")))
        return Fuse(draw.choice(SPOILING), number, value=value, lasting=lasting)
    return Fuse(draw.choice(RAISING), number, draw.choice(list(ERRORS)), lasting=lasting)
