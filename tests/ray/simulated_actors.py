"""Tune's workers on virtual time, in place of its manager of real ones.

A trial takes a slot, starts after `START_S`, and reports an iteration every `epoch_s`; what it
reports is a function of its configuration. It may die on the way. Where nothing happens any more
though trials are left, a real run would hang; here it fails.
"""

from __future__ import annotations

import heapq
import itertools
import tempfile
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import ray
from ray.air.execution._internal.tracked_actor import TrackedActor
from ray.exceptions import RayActorError
from ray.train._internal.session import _TrainingResult
from ray.tune import Checkpoint
from ray.tune.experiment import Trial

START_S = 4.0
"""Seconds from asking for a worker to its first work, as measured for a trivial trainable."""

HANGS_S = 3.0
"""Real seconds in which nothing happens, after which a run hangs: more than any patience of the
tests' gates."""

Dies = Callable[[dict[str, Any], int], bool]
"""From a configuration and an iteration to whether the worker dies in place of reporting."""

Report = Callable[[dict[str, Any], int], dict[str, Any]]
"""From a configuration and an iteration, counted from 1, to what the trial reports."""


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

    def __init__(self, slots: int, report: Report, log: Log, epoch_s: float, dies: Dies) -> None:
        self._slots, self._report, self._log, self._epoch_s = slots, report, log, epoch_s
        self._dies = dies
        self._last_event = time.monotonic()
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
        if tracked_actor not in self._busy:  # it died
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
            if self._dies(trial.config, iteration):
                died = partial(self._died, tracked_actor, on_error)
                self._at(self._epoch_s, tracked_actor, died)
                return None
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
            assert time.monotonic() - self._last_event < HANGS_S, "nothing happens any more"
            return False
        self._last_event = time.monotonic()
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

    def _died(self, actor: TrackedActor, on_error: Any) -> None:
        """As Tune's manager tells it: first of the actor, then of its task."""
        error = RayActorError()
        self._live_actors_to_ray_actors_resources.pop(actor)
        self._log.worker_s += self.now - self._busy.pop(actor)
        actor._on_error(actor, error)  # type: ignore[misc]
        on_error(actor, error)
