"""The calls of PyTorch's functions that a model makes, modules aside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch.overrides import TorchFunctionMode

Look = Callable[[str, Sequence[Any], Any], None]
"""Gets a function's name, what it was called with, and what it gave."""


class FunctionCalls(TorchFunctionMode):
    """While it is active, shows each call to those that want to see it.

    Args:
        looks: What they do with it; their own calls are not shown.
    """

    def __init__(self, looks: Sequence[Look]) -> None:
        super().__init__()
        self._looks = tuple(looks)
        self._resting = False

    @contextmanager
    def resting(self) -> Iterator[None]:
        """What is computed meanwhile is not the model's."""
        before, self._resting = self._resting, True
        try:
            yield
        finally:
            self._resting = before

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call what the model calls, and look at what comes out."""
        given = kwargs or {}
        result = func(*args, **given)
        if not self._resting:
            with self.resting():
                for look in self._looks:
                    look(getattr(func, "__name__", ""), (*args, *given.values()), result)
        return result
