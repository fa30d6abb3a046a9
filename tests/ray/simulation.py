"""Ray Tune without workers: its real Tuner, controller, schedulers and searchers on virtual time.

Only the actors are simulated (`simulated_actors`). Probes are simulated too (`SimulatedPool`), or
real where the scheduler is given as it is.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from ray import tune
from ray.tune.logger import LoggerCallback

from recent_prune.ray import ReconstructionEntropyScheduler
from recent_prune.ray.gate import Pool
from recent_prune.ray.judging.outcome import Candidate, Outcome
from recent_prune.ray.pool import FIRST_BATCH
from recent_prune.rules import Scalar
from tests.ray.simulated_actors import START_S, Dies, Log, Report, SimulatedActors


def improving(config: dict[str, Any], iteration: int) -> dict[str, Any]:
    """A score that grows with the iterations, better for a greater `quality`."""
    return {"score": config["quality"] * (1 - 0.5**iteration), "done": iteration >= 9}


class _WritesNothing(LoggerCallback):
    """In place of TensorBoard's, whose files take almost half of the time of a sweep."""


@contextmanager
def simulated(
    slots: int = 4,
    report: Report = improving,
    seed: int = 0,
    epoch_s: float = 1.0,
    tensorboard: bool = False,
    dies: Dies = lambda config, iteration: False,
) -> Iterator[Log]:
    """Within, `Tuner.fit` runs on simulated actors, and writes for TensorBoard only if told to."""
    log = Log()
    random.seed(seed)
    np.random.seed(seed)

    def make(resource_manager: Any) -> SimulatedActors:
        log.actors = SimulatedActors(slots, report, log, epoch_s, dies)
        return log.actors

    with ExitStack() as patches:
        patches.enter_context(
            mock.patch("ray.tune.execution.tune_controller.RayActorManager", make)
        )
        if not tensorboard:
            patches.enter_context(
                mock.patch("ray.tune.utils.callback.TBXLoggerCallback", _WritesNothing)
            )
        yield log


class TimedPool:
    """Probes that take virtual time, in one actor that is released when idle.

    Args:
        log: Of the run.
        probe_s: Seconds for a candidate.
        batch_size: Candidates in a batch.
        idle_s: Seconds after which the actor is released.
        judge: As in `SimulatedPool`.
    """

    def __init__(
        self,
        log: Log,
        probe_s: float,
        batch_size: int = 16,
        idle_s: float = 10.0,
        judge: Callable[[Candidate], Outcome] | None = None,
    ) -> None:
        self._judge = judge or judged
        self._log, self._probe_s = log, probe_s
        self._batch_size, self._idle_s = batch_size, idle_s
        self._queue: list[Candidate] = []
        self._batch: list[Candidate] = []
        self._ready: list[Outcome] = []
        self._last_work = -idle_s
        self._size = FIRST_BATCH
        self.actor_starts = 0
        self.busy_s = 0.0

    def submit(self, candidate: Candidate) -> None:
        self._queue.append(candidate)

    def discard(self, trial_id: str) -> None:
        self._queue = [c for c in self._queue if c.trial_id != trial_id]

    def release(self) -> None:
        self._last_work = -self._idle_s

    def poll(
        self, wait_s: float = 0.0, *, patient: bool = False, hold_back: bool = False
    ) -> list[Outcome]:
        actors = self._log.actors
        assert actors is not None
        if self._queue and not self._batch:
            seconds = 0.0
            if actors.now - self._last_work >= self._idle_s:
                self.actor_starts += 1
                self._size = FIRST_BATCH
                seconds = START_S
            size, self._size = min(self._size, self._batch_size), 2 * self._size
            self._batch, self._queue = self._queue[:size], self._queue[size:]
            seconds += self._probe_s * len(self._batch)
            self.busy_s += seconds
            actors.after(seconds, self._finish)
        outcomes, self._ready = self._ready, []
        return outcomes

    def _finish(self) -> None:
        assert self._log.actors is not None
        self._last_work = self._log.actors.now
        self._ready += [self._judge(candidate) for candidate in self._batch]
        self._batch = []


class SimulatedPool:
    """Has a verdict for every configuration.

    Args:
        polls: How many polls a batch takes.
        batch_size: Candidates in it.
        judge: From a candidate to its outcome. Default: what the configuration asks for.
    """

    def __init__(
        self,
        polls: int = 0,
        batch_size: int = 16,
        judge: Callable[[Candidate], Outcome] | None = None,
    ) -> None:
        self._polls, self._batch_size = polls, batch_size
        self._judge = judge or judged
        self._queue: list[Candidate] = []
        self._left = polls
        self.probed: list[str] = []
        self.released = False

    def submit(self, candidate: Candidate) -> None:
        self._queue.append(candidate)

    def discard(self, trial_id: str) -> None:
        self._queue = [c for c in self._queue if c.trial_id != trial_id]

    def release(self) -> None:
        self.released = True

    def poll(
        self, wait_s: float = 0.0, *, patient: bool = False, hold_back: bool = False
    ) -> list[Outcome]:
        if not self._queue:
            return []
        if self._left > 0:
            self._left -= 1
            return []
        self._left = self._polls
        batch, self._queue = self._queue[: self._batch_size], self._queue[self._batch_size :]
        self.probed += [candidate.trial_id for candidate in batch]
        return [self._judge(candidate) for candidate in batch]


def judged(candidate: Candidate) -> Outcome:
    """The outcome that a configuration asks for: condemned if `doomed`, failed if `fault`."""
    if candidate.config.get("fault"):
        return Outcome(candidate.trial_id, fault="RuntimeError: as told")
    doomed = bool(candidate.config.get("doomed"))
    known: dict[str, Scalar] = {
        "trainable": not doomed,
        "violation": 0.5 if doomed else -0.5,
        "reason": "As told.",
        "retained": 0.0 if doomed else 0.3,
        "relative_entropy": 0.4,
        "cutoff": 3,
        "depth": 10,
        "seconds": 0.01,
    }
    return Outcome(candidate.trial_id, summary=known)


class SimulatedGate(ReconstructionEntropyScheduler):
    """The scheduler with simulated probes."""

    polls = 0

    def __init__(self, wrapped: Any = None, polls: int = 0, **options: Any) -> None:
        super().__init__(wrapped=wrapped, **options)
        self.polls = polls

    def _make_pool(self) -> Pool | None:
        return SimulatedPool(self.polls)


class TimedGate(ReconstructionEntropyScheduler):
    """The scheduler with probes that take virtual time."""

    def __init__(self, wrapped: Any, log: Log, probe_s: float) -> None:
        super().__init__(wrapped=wrapped)
        self.log, self.probe_s = log, probe_s

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "log": None, "pool": None}

    def _make_pool(self) -> Pool | None:
        self.pool = TimedPool(self.log, self.probe_s)
        return self.pool


def trainable(config: dict[str, Any]) -> None:
    raise AssertionError("trials are simulated")


def tuner(
    path: Path,
    scheduler: Any,
    space: dict[str, Any],
    num_samples: int = 20,
    metric: str | None = "score",
    **options: Any,
) -> tune.Tuner:
    """A quiet tuner that keeps its results at a path."""
    run = {"verbose": 0, **options.pop("run", {})}
    return tune.Tuner(
        trainable,
        param_space=space,
        tune_config=tune.TuneConfig(
            metric=metric,
            mode=None if metric is None else "max",
            num_samples=num_samples,
            scheduler=scheduler,
            **options,
        ),
        run_config=tune.RunConfig(storage_path=str(path), name="run", **run),
    )
