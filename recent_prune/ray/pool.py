"""Probe actors: candidates in, outcomes out, whatever happens to an actor on the way.

The driver submits candidates and polls; it never waits for a probe longer than it asks to. Actors
start on demand and are released when there is nothing to probe.

What goes wrong: a batch whose actor dies, hangs or raises is tried once more, trial by trial, so
that the trial at fault is found and the others get their verdicts. A trial that fails alone, too,
gets an outcome that says why (`Outcome.fault`), and so do all that wait when no actor can be
started.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import ray
from ray import cloudpickle

from recent_prune.probe.restoring.devices import accelerator
from recent_prune.ray.judging.outcome import Candidate, Outcome
from recent_prune.ray.limits import PoolLimits
from recent_prune.ray.nodes import of_cluster
from recent_prune.ray.probing import ProbeSettings, described, probe_batch

logger = logging.getLogger(__name__)

ATTEMPTS = 2
"""In a batch, then alone."""

FIRST_BATCH = 2
"""Candidates in an actor's first batch, doubled with each, so that trials can start soon."""

GUILTY = 8
"""After so many trials in a row that failed alone as well, it is not the trials that are broken."""

FAILED_STARTS = 3
"""Of actors, in a row: likewise."""


class ProbeActor:
    """Holds the inputs and probes batches."""

    def __init__(self, settings: bytes, accelerated: bool) -> None:
        self._pickled = settings
        found = accelerator() if accelerated else None
        self._device = "cpu" if found is None else found.type

    def load(self) -> None:
        """Get ready; not in the constructor, whose errors Ray reports as a dead actor."""
        self._settings: ProbeSettings = cloudpickle.loads(self._pickled)
        self._inputs = self._settings.load_inputs()

    def probe(self, candidates: list[Candidate]) -> list[Outcome]:
        """Outcomes of candidates, in order."""
        settings = self._settings
        if settings.limits is not None:
            limits = of_cluster(settings.limits, self._device, ray.nodes())
            settings = replace(settings, limits=limits)
        return probe_batch(settings, self._inputs, candidates, self._device)


_REMOTE: Any = ray.remote(ProbeActor)


@dataclass
class _Request:
    candidate: Candidate
    failed: int = 0


@dataclass
class _Worker:
    """An actor that starts (is placed, then loads), probes (has a batch) or idles (no future)."""

    actor: Any
    future: Any
    since: float
    placed: bool = False
    batch: list[_Request] = field(default_factory=list)
    size: int = FIRST_BATCH

    @property
    def starting(self) -> bool:
        return self.future is not None and not self.batch


class ProbePool:
    """Probes candidates in Ray actors.

    Args:
        settings: Pickled `ProbeSettings`.
        limits: How much probing may take.
        gives_up: Whether, after `GUILTY` trials or `FAILED_STARTS` of actors in a row, everything
            submitted later is answered with a fault at once rather than tried.
    """

    def __init__(self, settings: bytes, limits: PoolLimits, gives_up: bool) -> None:
        self._settings = settings
        self._limits = limits
        self._gives_up = gives_up
        self._queue: deque[_Request] = deque()
        self._workers: list[_Worker] = []
        self._outcomes: list[Outcome] = []
        self._guilty = 0  # trials in a row that failed alone
        self._failed_starts = 0  # of actors, in a row
        self._broken: str | None = None
        # Actors are released by a thread: a driver that is done with its steps polls no more.
        self._lock = threading.RLock()
        self._watch: threading.Thread | None = None
        self._last_work = 0.0

    def submit(self, candidate: Candidate) -> None:
        """Have a candidate probed."""
        with self._lock:
            self._queue.append(_Request(candidate))

    def discard(self, trial_id: str) -> None:
        """Do not begin to probe a candidate any more; an outcome may still come."""
        with self._lock:
            kept = [r for r in self._queue if r.candidate.trial_id != trial_id]
            self._queue = deque(kept)

    def poll(
        self, wait_s: float = 0.0, *, patient: bool = False, hold_back: bool = False
    ) -> list[Outcome]:
        """Outcomes that have come since the last poll.

        Args:
            wait_s: How long to wait for one at most, if any is on the way.
            patient: Whether the time that an actor waits for its resources does not count, since
                trials are running that will free some.
            hold_back: Whether trials wait for what actors may hold: if so, begin nothing new and
                release actors without work.
        """
        with self._lock:
            hold_back = hold_back and any(self._limits.resources.values())
            if hold_back:
                self._kill([worker for worker in self._workers if not worker.batch])
            else:
                self._dispatch()
            self._collect(wait_s)
            self._expire(patient)
            if not hold_back:
                self._dispatch()
            if self._queue or any(worker.future is not None for worker in self._workers):
                self._last_work = time.monotonic()
            outcomes, self._outcomes = self._outcomes, []
            return outcomes

    def release(self) -> None:
        """Give all actors back; what they had not answered is forgotten."""
        with self._lock:
            self._kill(self._workers)
            self._queue.clear()

    def _dispatch(self) -> None:
        if self._broken is not None:
            self._fault_queue(self._broken)
        for worker in self._workers:
            if self._queue and worker.future is None:
                worker.batch = self._next_batch(min(worker.size, self._limits.batch_size))
                worker.size *= 2
                candidates = [request.candidate for request in worker.batch]
                worker.future = worker.actor.probe.remote(candidates)
                worker.since = time.monotonic()
        starting = sum(worker.starting for worker in self._workers)
        wanted = math.ceil(len(self._queue) / self._limits.batch_size) - starting
        try:
            for _ in range(min(wanted, self._limits.actors - len(self._workers))):
                self._start()
        except Exception as error:
            self._give_up(described(error))

    def _next_batch(self, size: int) -> list[_Request]:
        """What failed already goes alone."""
        batch = [self._queue.popleft()]
        while self._queue and len(batch) < size and not (batch[0].failed or self._queue[0].failed):
            batch.append(self._queue.popleft())
        return batch

    def _start(self) -> None:
        actor: Any = _REMOTE.options(**self._limits.options).remote(
            self._settings, self._limits.accelerated
        )
        self._workers.append(_Worker(actor, actor.__ray_ready__.remote(), time.monotonic()))
        self._last_work = time.monotonic()
        if self._watch is None:
            self._watch = threading.Thread(target=self._release_idle, daemon=True)
            self._watch.start()

    def _collect(self, wait_s: float) -> None:
        waited = {w.future: w for w in self._workers if w.future is not None}
        if not waited:
            return
        ray.wait(list(waited), num_returns=1, timeout=wait_s)
        ready, _ = ray.wait(list(waited), num_returns=len(waited), timeout=0)
        for future in ready:
            worker = waited[future]
            try:
                answer = ray.get(future, timeout=self._limits.timeout_s)  # its node may be gone
            except Exception as error:
                self._failed(worker, described(getattr(error, "cause", None) or error))
                continue
            worker.future = None
            if worker.batch:
                worker.batch = []
                self._guilty = 0
                self._outcomes += answer
            elif not worker.placed:
                worker.placed = True
                worker.future, worker.since = worker.actor.load.remote(), time.monotonic()
            else:
                self._failed_starts = 0

    def _expire(self, patient: bool) -> None:
        now = time.monotonic()
        for worker in list(self._workers):
            if worker.starting and not worker.placed and patient:
                worker.since = now
            elif worker.starting and now - worker.since > self._limits.start_timeout_s:
                resources = self._limits.resources
                did = "loaded its inputs" if worker.placed else "started"
                reason = f"no actor with {resources} {did} in {self._limits.start_timeout_s:g} s"
                self._kill([worker])
                self._give_up(reason)
            elif worker.batch and now - worker.since > self._limits.timeout_s:
                self._failed(worker, f"no answer in {self._limits.timeout_s:g} s")

    def _failed(self, worker: _Worker, reason: str) -> None:
        requests, worker.batch = worker.batch, []
        self._kill([worker])
        for request in reversed(requests):
            request.failed += 1
            if request.failed < ATTEMPTS:
                self._queue.appendleft(request)
            else:
                self._guilty += 1
                self._outcomes.append(Outcome(request.candidate.trial_id, fault=reason))
        self._failed_starts += not requests
        if self._failed_starts >= FAILED_STARTS or (self._gives_up and self._guilty >= GUILTY):
            self._give_up(reason)

    def _give_up(self, reason: str) -> None:
        self._failed_starts = 0
        self._fault_queue(reason)
        if self._gives_up:
            self._broken = reason

    def _fault_queue(self, reason: str) -> None:
        while self._queue:
            request = self._queue.popleft()
            self._outcomes.append(Outcome(request.candidate.trial_id, fault=reason))

    def _release_idle(self) -> None:
        """Release actors that have no work, or whose work nobody asks for any more."""
        while True:
            time.sleep(min(self._limits.idle_s, 1.0))
            with self._lock:
                quiet = time.monotonic() - self._last_work - self._limits.idle_s
                self._kill([w for w in self._workers if quiet > self._allowed_s(w)])
                if not self._workers:
                    self._watch = None
                    return

    def _allowed_s(self, worker: _Worker) -> float:
        """How long what an actor does may take, 0 if it does nothing."""
        if worker.batch:
            return self._limits.timeout_s
        return self._limits.start_timeout_s if worker.starting else 0.0

    def _kill(self, workers: Sequence[_Worker]) -> None:
        for worker in list(workers):
            self._workers.remove(worker)
            self._queue.extendleft(reversed(worker.batch))
            try:
                if ray.is_initialized():
                    ray.kill(worker.actor)
            except Exception:
                logger.debug("A probe actor was gone before it was released.", exc_info=True)
