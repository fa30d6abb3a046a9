"""What is known after a restore."""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import pytest
from ray import tune

from recent_prune.ray import tune_controller
from tests.ray.simulation import (
    SimulatedGate,
    SimulatedPool,
    simulated,
    trainable,
    tuner,
)
from tests.ray.sweeps import (
    doomed,
    each,
    rejected,
    space,
)

pytestmark = pytest.mark.usefixtures("local_ray")


class _DriverDiedError(Exception):
    pass


class _CountingPool(SimulatedPool):
    outcomes: ClassVar[list[str]] = []

    def poll(self, *args: Any, **kwargs: Any) -> list[Any]:
        outcomes = super().poll(*args, **kwargs)
        self.outcomes.extend(outcome.trial_id for outcome in outcomes)
        return outcomes


class _DyingGate(SimulatedGate):
    """Ends the driver, as far as an exception can, in some step; a restored one lives.

    Args:
        steps: Before the end.
        saved: Whether Tune saved its state just then, rather than in its first step only.
    """

    def __init__(self, steps: int, saved: bool) -> None:
        super().__init__()
        self._steps, self._saved = steps, saved

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_steps": 10**6}

    def _make_pool(self) -> _CountingPool:
        return _CountingPool(polls=2, batch_size=8)

    def choose_trial_to_run(self, controller: Any) -> Any:
        chosen = super().choose_trial_to_run(controller)
        self._steps -= 1
        if self._steps == 0:
            if self._saved:
                tune_controller.unwrapped(controller).checkpoint(force=True, wait=True)
            while any("(entrypoint)" in thread.name for thread in threading.enumerate()):
                time.sleep(0.05)  # Tune copies its state in a thread, and needs all of it
            raise _DriverDiedError("as told")
        return chosen


class TestRestore:
    @pytest.mark.parametrize("steps", [2, 3, 4, 9, 40])
    @pytest.mark.parametrize("saved", [True, False])
    def test_no_verdict_is_lost_and_none_is_asked_for_twice(
        self, steps: int, saved: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TUNE_GLOBAL_CHECKPOINT_S", "1000")
        probed = _CountingPool.outcomes = []
        first_run = tuner(tmp_path, _DyingGate(steps, saved), space(24), 1)
        with simulated(slots=2) as first, pytest.raises(_DriverDiedError, match="as told"):
            first_run.fit()
        before = len(probed)
        with simulated(slots=2) as second:
            results = tune.Tuner.restore(str(tmp_path / "run"), trainable=trainable).fit()
        assert len(results) == 24
        assert results.num_terminated == 24
        assert rejected(results) == doomed(results)
        started = {*first.started, *second.started}
        assert not doomed(results) & started
        assert started == {r.metrics["trial_id"] for r in each(results)} - doomed(results)
        assert Counter(probed) == Counter(set(probed))
        assert len(probed) == 24
        assert before == min(8 * (steps // 3), 24)

    def test_a_finished_run_that_is_restored_starts_nothing(self, tmp_path: Path) -> None:
        with simulated():
            before = tuner(tmp_path, SimulatedGate(), space(9), 1).fit()
        with simulated() as log:
            after = tune.Tuner.restore(str(tmp_path / "run"), trainable=trainable).fit()
        assert log.worker_starts == 0
        assert rejected(after) == rejected(before)
