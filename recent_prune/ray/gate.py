"""The gate: holds the trials of one run until their verdicts are in."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal, Protocol

from ray.tune.experiment import Trial

from recent_prune.ray import tune_controller
from recent_prune.ray.in_trial import METRICS
from recent_prune.ray.judging.ending import Ending
from recent_prune.ray.judging.memory import RanOut
from recent_prune.ray.judging.outcome import Candidate, Outcome
from recent_prune.ray.judging.rung_zero import RungZero
from recent_prune.ray.judging.situation import Decisions, Situation
from recent_prune.ray.ledger import Ledger

logger = logging.getLogger(__name__)

OnFault = Literal["run", "reject"]
"""What becomes of a trial that cannot be probed."""

POLL_S = 0.1
"""How long a step of the driver waits for verdicts where nothing else can happen: as long as Tune
itself waits for trials."""


class Pool(Protocol):
    """What probes candidates: :class:`recent_prune.ray.pool.ProbePool`."""

    def submit(self, candidate: Candidate) -> None: ...  # noqa: D102
    def discard(self, trial_id: str) -> None: ...  # noqa: D102
    def release(self) -> None: ...  # noqa: D102
    def poll(  # noqa: D102
        self, wait_s: float = 0.0, *, patient: bool = False, hold_back: bool = False
    ) -> list[Outcome]: ...


class Gate:
    """Holds trials, has them probed, and lets them pass or ends them.

    Args:
        controller: Tune's controller, not a wrapper of it.
        pool: Probes candidates.
        decisions: Decides on them by what else the run has seen. Default: the pool's verdicts
            stand.
        on_fault: What becomes of a trial that cannot be probed.
        cohorts: Whether to let trials pass together with those that were sampled with them.
        patience_s: Seconds that a trial which passed may wait for resources before probes that
            take some stand back.
        deadline_s: Seconds after which workers have waited too long for a decision.
    """

    def __init__(
        self,
        controller: Any,
        pool: Pool,
        *,
        decisions: Decisions | None = None,
        on_fault: OnFault,
        cohorts: bool,
        patience_s: float,
        deadline_s: float = math.inf,
    ) -> None:
        self._controller = controller
        self._pool = pool
        self._decisions = decisions
        self._on_fault = on_fault
        self._cohorts = cohorts
        self._patience_s = patience_s
        self._deadline_s = deadline_s
        self._held: dict[str, Trial] = {}
        self._arrived: list[Trial] = []  # held, but still on Tune's list of what to start
        self._recalled: list[Outcome] = []  # known from before a restore
        self._passed: set[str] = set()  # held until the rest of their cohort is decided
        self._ledger: Ledger | None = None
        self._cohort: set[str] = set()
        self._most_running = 0
        self._starved_since: float | None = None
        self._idle_since: float | None = None
        self._warned = False
        self._concluded = False
        self._ran_out = RanOut()
        self.counts: Counter[str] = Counter()

    def holds(self, trial: Trial) -> bool:
        """Whether the trial is held."""
        return trial.trial_id in self._held

    @property
    def undecided(self) -> bool:
        """Whether any trial waits for its verdict."""
        return len(self._held) > len(self._passed)

    def hold(self, trial: Trial) -> None:
        """Hold a new trial and have it probed, unless its verdict is known."""
        tune_controller.prepare(trial)
        outcome = self._ledger_of(trial).find(trial.trial_id, trial.config)
        self._held[trial.trial_id] = trial
        self._arrived.append(trial)
        if outcome is None:
            self._pool.submit(Candidate(trial.trial_id, trial.config))
        else:
            self._recalled.append(outcome)

    def forget(self, trial: Trial) -> None:
        """Neither hold nor probe a trial any longer."""
        del self._held[trial.trial_id]
        self._passed.discard(trial.trial_id)
        if trial in self._arrived:
            self._arrived.remove(trial)
        self._pool.discard(trial.trial_id)
        if self._decisions is not None:
            self._decisions.forget(trial.trial_id)

    def failed(self, trial: Trial) -> None:
        """Learn from a trial that passed, where it ran out of memory."""
        outcome = None if self._ledger is None else self._ledger.outcomes.get(trial.trial_id)
        self.counts["ran out"] += tune_controller.ran_out_of_memory(trial)
        if outcome is not None and tune_controller.ran_out_alone(trial):
            self._ran_out.add(outcome)

    def step(self) -> list[Trial]:
        """Act on the verdicts that have come.

        Returns:
            The trials that pass now, in the order in which they were sampled. Those that cannot
            train are ended.
        """
        for trial in [trial for trial in self._held.values() if tune_controller.is_over(trial)]:
            self.forget(trial)  # the whole run is being stopped
        for trial in self._arrived:
            tune_controller.hold(self._controller, trial)
        self._arrived = []
        outcomes = self._decided([self._ran_out.corrected(o) for o in self._poll()])
        self._record(outcomes)
        recalled, self._recalled = self._recalled, []
        for outcome in [*recalled, *outcomes]:
            if outcome.trial_id in self._held:
                self._settle(self._held[outcome.trial_id], outcome)
        if not self._held and self._controller.search_alg.is_finished():
            self._pool.release()
            self._conclude()
        return self._released()

    def close(self) -> None:
        """Release what probes."""
        self._pool.release()

    def __str__(self) -> str:
        """How many trials passed and how many did not."""
        counts = self.counts
        stopped = f"{counts['stopped']} stopped by their rank, " if counts["stopped"] else ""
        told = (
            f"Reconstruction entropy: {counts['passed']} passed, {counts['rejected']} rejected, "
            f"{stopped}{len(self._held)} held, {counts['unprobed']} could not be probed"
        )
        ran_out = f", {counts['ran out']} ran out of memory" if counts["ran out"] else ""
        return told + ran_out

    def _poll(self) -> list[Outcome]:
        """Ask for verdicts; wait for them only where Tune has nothing else to wait for."""
        running, waiting = self._counted(Trial.RUNNING), self._counted(Trial.PENDING) > 0
        return self._pool.poll(
            0.0 if running or waiting or self._recalled else POLL_S,
            patient=running > 0,
            hold_back=self._starved(running, waiting),
        )

    def _starved(self, running: int, waiting: bool) -> bool:
        """Whether a trial has been waiting though fewer run than could, so perhaps for a probe."""
        self._most_running = max(self._most_running, running)
        starved = waiting and (running == 0 or running < self._most_running)
        now = time.monotonic()
        self._starved_since = (self._starved_since or now) if starved else None
        return starved and now - (self._starved_since or now) > self._patience_s

    def _decided(self, outcomes: list[Outcome]) -> list[Outcome]:
        """Those that are decided on, by what the run has seen."""
        if self._decisions is None or self._ledger is None:
            return outcomes
        new = [outcome for outcome in outcomes if outcome.trial_id in self._held]
        return self._decisions.decide(new, self._situation(new))

    def _situation(self, new: Sequence[Outcome]) -> Situation:
        assert self._decisions is not None
        assert self._ledger is not None
        wanted = not self._passed and not tune_controller.waiting(self._controller, self.holds)
        running = self._counted(Trial.RUNNING)
        few = running == 0 or running < self._most_running
        idle = wanted and few and bool(self._decisions.waiting)
        now = time.monotonic()
        self._idle_since = (self._idle_since or now) if idle else None
        known = {o.trial_id for o in (*new, *self._recalled)} | self._decisions.waiting
        settled = set(self._held) <= known | self._passed
        finished = self._cohorts or self._controller.search_alg.is_finished()
        return Situation(
            outcomes=self._ledger.outcomes,
            endings=self._endings,
            ended=sum(tune_controller.is_over(trial) for trial in self._controller.get_trials()),
            wanted=wanted,
            overdue=idle and now - (self._idle_since or now) > self._deadline_s,
            settled=settled,
            last=settled and finished,
            together=self._cohorts,
        )

    def _endings(self, metric: str) -> dict[str, Ending]:
        trials = self._controller.get_trials()
        return {trial.trial_id: Ending.of(trial, metric) for trial in trials}

    def _counted(self, status: str) -> int:
        """Live trials beyond the gate with a status."""
        live = self._controller.get_live_trials()
        return sum(trial.status == status and not self.holds(trial) for trial in live)

    def _record(self, outcomes: Sequence[Outcome]) -> None:
        held = [(o, self._held[o.trial_id]) for o in outcomes if o.trial_id in self._held]
        if held:
            self._ledger_of(held[0][1]).record((o, trial.config) for o, trial in held)

    def _settle(self, trial: Trial, outcome: Outcome) -> None:
        tune_controller.tell_optuna(self._controller, trial.trial_id, outcome.constraint)
        known, passes = outcome.metrics, outcome.passes
        if outcome.fault is not None:
            self.counts["unprobed"] += 1
            self._warn(trial, outcome.fault)
            reason = f"It could not be probed: {outcome.fault}"
            passes = self._on_fault == "run"
            known = {"trainable": passes, "reason": reason}
        if passes:
            self.counts["passed"] += 1
            self._passed.add(trial.trial_id)
        else:
            self.counts["stopped" if outcome.stopped and not outcome.condemned else "rejected"] += 1
            logger.info("%s is not started: %s", trial, known["reason"])
            self.forget(trial)
            tune_controller.reject(self._controller, trial, {METRICS: known})

    def _released(self) -> list[Trial]:
        if self._cohorts:
            self._cohort &= set(self._held)
            self._cohort = self._cohort or set(self._held)
            if self._cohort - self._passed:
                return []
        # In the order in which they were sampled, which verdicts need not keep.
        released = [t for t in self._held.values() if t.trial_id in self._passed]
        if self._cohorts:
            released = [trial for trial in released if trial.trial_id in self._cohort]
        for trial in released:
            del self._held[trial.trial_id]
            self._passed.remove(trial.trial_id)
        return released

    def _ledger_of(self, trial: Trial) -> Ledger:
        if self._ledger is None:
            self._ledger = Ledger(*tune_controller.storage_of(trial))
            if self._decisions is not None:
                self._decisions.recall(self._ledger.outcomes)
                self._ledger.record_study(self._decisions.study())
        return self._ledger

    def _conclude(self) -> None:
        """Say once, when all are decided, what a user should not have to look for."""
        if self._concluded:
            return
        self._concluded = True
        counts = self.counts
        if counts["unprobed"]:
            logger.warning("recent_prune: not all trials could be probed. %s", self)
        elif counts["rejected"] and not counts["passed"]:
            logger.warning(
                "recent_prune: all %d trials were rejected, so there is no best one: is the search "
                "space at fault? Their reasons are in recent_prune.ray.probed_trials(results).",
                counts["rejected"],
            )

    def _warn(self, trial: Trial, fault: str) -> None:
        if not self._warned:
            runs = self._on_fault == "run"
            ranked = runs and isinstance(self._decisions, RungZero)
            logger.warning(
                "recent_prune: %s could not be probed (%s) and %s, as on_fault=%r says%s. Further "
                "ones are only counted, in the scheduler's debug_string() and at the end.",
                trial,
                fault,
                "runs unprobed" if runs else "is rejected",
                self._on_fault,
                "; `keep` does not hold for such trials" if ranked else "",
            )
        self._warned = True
