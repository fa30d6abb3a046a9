"""Ray Tune without workers: its real Tuner, controller, schedulers and searchers on virtual time.

Only the actors are simulated. A trial takes a slot, starts after `START_S`, and reports an
iteration every `epoch_s`; what it reports is a function of its configuration. Probes are simulated
too (`SimulatedPool`), or real where the scheduler is given as it is.
"""

from __future__ import annotations

import heapq
import itertools
import random
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import ray
from ray import tune
from ray.air.execution._internal.tracked_actor import TrackedActor
from ray.train._internal.session import _TrainingResult
from ray.tune import Checkpoint
from ray.tune.experiment import Trial

from recent_prune.ray import ReconstructionEntropyScheduler
from recent_prune.ray.gate import Pool
from recent_prune.ray.pool import FIRST_BATCH
from recent_prune.ray.probing import Candidate, Outcome
from recent_prune.rules import Scalar

START_S = 4.0
"""Seconds from asking for a worker to its first work, as measured for a trivial trainable."""

Report = Callable[[dict[str, Any], int], dict[str, Any]]
"""From a configuration and an iteration, counted from 1, to what the trial reports."""


def improving(config: dict[str, Any], iteration: int) -> dict[str, Any]:
    """A score that grows with the iterations, better for a greater `quality`."""
    return {"score": config["quality"] * (1 - 0.5**iteration), "done": iteration >= 9}


@dataclass
class Log:
    """What happened in a simulated run."""

    started: list[str] = field(default_factory=list)  # trials, each time a fresh worker began
    iterations: list[tuple[Any, int]] = field(default_factory=list)  # (config's index, iteration)
    worker_starts: int = 0
    resets: int = 0
    worker_s: float = 0.0
    makespan_s: float = 0.0
    actors: SimulatedActors | None = None


class _Handle:
    """What Tune asks of an actor itself."""

    class get_auto_filled_metrics:  # noqa: N801
        @staticmethod
        def remote(**_: Any) -> dict[str, Any]:
            return {}


class _Resolver:
    def resolve_future(self, future: Any) -> None:
        raise AssertionError("trials export nothing here")


class SimulatedActors:
    """In place of Tune's RayActorManager."""

    def __init__(self, slots: int, report: Report, log: Log, epoch_s: float) -> None:
        self._slots, self._report, self._log, self._epoch_s = slots, report, log, epoch_s
        self.now = 0.0
        self._events: list[tuple[float, int, Any, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._pending: deque[TrackedActor] = deque()
        self._busy: dict[TrackedActor, float] = {}  # since when it takes a slot
        self._iteration: dict[TrackedActor, int] = {}
        self._live_actors_to_ray_actors_resources: dict[TrackedActor, tuple[Any, Any]] = {}
        self._actor_task_events = _Resolver()

    def add_actor(self, on_start: Any, on_stop: Any, on_error: Any, **_: Any) -> TrackedActor:
        actor = TrackedActor(next(self._numbers), on_start, on_stop, on_error)
        self._pending.append(actor)
        return actor

    def remove_actor(self, tracked_actor: TrackedActor, **_: Any) -> bool:
        self.clear_actor_task_futures(tracked_actor)
        if tracked_actor in self._pending:
            self._pending.remove(tracked_actor)
            return False
        self._at(0.0, tracked_actor, lambda: self._stopped(tracked_actor))
        return True

    def clear_actor_task_futures(self, tracked_actor: TrackedActor) -> None:
        self._events = [event for event in self._events if event[2] is not tracked_actor]
        heapq.heapify(self._events)

    def schedule_actor_task(
        self,
        tracked_actor: TrackedActor,
        method_name: str,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        on_result: Any = None,
        on_error: Any = None,
        _return_future: bool = False,
    ) -> Any:
        def finish(seconds: float, value: Any) -> None:
            self._at(seconds, tracked_actor, lambda: on_result(tracked_actor, value))

        if method_name == "train":
            trial = self._trial(tracked_actor)
            iteration = self._iteration[tracked_actor] = self._iteration[tracked_actor] + 1
            self._log.iterations.append((trial.config.get("index"), iteration))
            result = {
                "training_iteration": iteration,
                "time_total_s": iteration * self._epoch_s,
                "time_this_iter_s": self._epoch_s,
                "trial_id": trial.trial_id,
                "config": trial.config,
                "done": False,
                **self._report(trial.config, iteration),
            }
            finish(self._epoch_s, result)
        elif method_name == "save":
            trial = self._trial(tracked_actor)
            metrics = {**trial.last_result, "training_iteration": self._iteration[tracked_actor]}
            saved = _TrainingResult(Checkpoint(tempfile.mkdtemp(prefix="simulated")), metrics)
            finish(0.0, saved)
            return ray.put(saved)
        elif method_name == "reset":  # a worker that is used for another trial
            self._log.resets += 1
            trial = self._trial(tracked_actor)
            if trial.checkpoint is None:
                self._log.started.append(trial.trial_id)
            self._iteration[tracked_actor] = 0
            finish(0.0, True)
        elif method_name == "restore":
            self._iteration[tracked_actor] = args[0].metrics["training_iteration"]
            finish(0.0, None)
        else:
            assert method_name == "stop", method_name
        return None

    def next(self, timeout: float) -> bool:
        while self._pending and len(self._busy) < self._slots:
            actor = self._pending.popleft()
            self._busy[actor] = self.now
            self._at(START_S, actor, partial(self._started, actor))
        if not self._events:
            return False
        self.now, _, _, event = heapq.heappop(self._events)
        self._log.makespan_s = self.now
        event()
        return True

    @property
    def num_live_actors(self) -> int:
        return len(self._live_actors_to_ray_actors_resources)

    @property
    def num_pending_actors(self) -> int:
        return len(self._pending)

    @property
    def num_total_actors(self) -> int:
        return self.num_live_actors + self.num_pending_actors

    @property
    def num_actor_tasks(self) -> int:
        return len(self._events)

    def is_actor_started(self, tracked_actor: TrackedActor) -> bool:
        return tracked_actor in self._live_actors_to_ray_actors_resources

    def is_actor_failed(self, tracked_actor: TrackedActor) -> bool:
        return False

    def get_live_actors_resources(self) -> dict[str, float]:
        return {"CPU": float(len(self._busy))}

    def cleanup(self) -> None:
        pass

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        """Have something else happen in virtual time."""
        self._at(seconds, None, event)

    def _at(self, seconds: float, actor: TrackedActor | None, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._numbers), actor, event))

    def _trial(self, actor: TrackedActor) -> Trial:
        controller = actor._on_start.__self__  # type: ignore[union-attr]
        trial: Trial = controller._actor_to_trial[actor]
        return trial

    def _started(self, actor: TrackedActor) -> None:
        self._live_actors_to_ray_actors_resources[actor] = (_Handle(), None)
        self._iteration[actor] = 0
        self._log.worker_starts += 1
        trial = self._trial(actor)
        if trial.checkpoint is None:
            self._log.started.append(trial.trial_id)
        actor._on_start(actor)  # type: ignore[misc]

    def _stopped(self, actor: TrackedActor) -> None:
        self._live_actors_to_ray_actors_resources.pop(actor, None)
        self._log.worker_s += self.now - self._busy.pop(actor)
        if actor._on_stop:
            actor._on_stop(actor)


@contextmanager
def simulated(
    slots: int = 4, report: Report = improving, seed: int = 0, epoch_s: float = 1.0
) -> Iterator[Log]:
    """Within, `Tuner.fit` runs on simulated actors."""
    log = Log()
    random.seed(seed)
    np.random.seed(seed)

    def make(resource_manager: Any) -> SimulatedActors:
        log.actors = SimulatedActors(slots, report, log, epoch_s)
        return log.actors

    with mock.patch("ray.tune.execution.tune_controller.RayActorManager", make):
        yield log


class TimedPool:
    """Probes that take virtual time, in one actor that is released when idle.

    Args:
        log: Of the run.
        probe_s: Seconds for a candidate.
        batch_size: Candidates in a batch.
        idle_s: Seconds after which the actor is released.
    """

    def __init__(
        self, log: Log, probe_s: float, batch_size: int = 16, idle_s: float = 10.0
    ) -> None:
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
        self._ready += [judged(candidate) for candidate in self._batch]
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
