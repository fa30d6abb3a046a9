"""A study's trials, read by a process again and again: what has ended does not change."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from optuna.study import Study
from optuna.trial import FrozenTrial

T = TypeVar("T")


class Reader:
    """Gives each trial that has ended once, so that a trial takes no longer after ten thousand.

    Attributes:
        lock: To be held while reading, and while what was read is counted: threads share a study.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._read = 0
        self._open: list[int] = []

    def read(self, study: Study) -> tuple[list[FrozenTrial], list[FrozenTrial]]:
        """Trials that have ended since the last call, and all that have not; each by number."""
        trials = study.get_trials(deepcopy=False)
        looked_at = [trials[number] for number in self._open] + trials[self._read :]
        going_on = [trial for trial in looked_at if not trial.state.is_finished()]
        self._read, self._open = len(trials), [trial.number for trial in going_on]
        return [trial for trial in looked_at if trial.state.is_finished()], going_on


class OfStudies(Generic[T]):
    """What a process knows of each of its studies; forgotten with the study.

    Args:
        new: Makes what is known of a study at first.
    """

    def __init__(self, new: Callable[[], T]) -> None:
        self._new = new
        self._known: WeakKeyDictionary[Study, T] = WeakKeyDictionary()

    def __getitem__(self, study: Study) -> T:
        """Of that study, the same in all threads."""
        if study not in self._known:
            self._known.setdefault(study, self._new())
        return self._known[study]
