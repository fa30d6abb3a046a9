"""What is to be known of a scheduler that is wrapped, beyond Tune's documented interface.

As in `tune_controller`, whose table goes on here; ``tests/ray/test_schedulers.py`` checks each.

==================================  ===============================================================
used                                why
==================================  ===============================================================
``_base_scheduler``                 what a ``ResourceChangingScheduler`` wraps
``_mode``                           whether more is better, where the scheduler was told so
``PopulationBasedTraining._synch``  whether it waits for all trials
``HyperBandScheduler._hyperbands``, brackets that HyperBand forgets, and how it goes on with one
``_process_bracket``
==================================  ===============================================================
"""

from __future__ import annotations

from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import (
    FIFOScheduler,
    HyperBandForBOHB,
    HyperBandScheduler,
    PopulationBasedTraining,
    TrialScheduler,
)


class Wrapping(TrialScheduler):
    """A scheduler that hands on to another what it has no part in.

    Args:
        wrapped: The other one. Default: FIFO.
    """

    def __init__(self, wrapped: TrialScheduler | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._metric: str | None = None
        self._mode: str | None = None
        self._wrapped: TrialScheduler = FIFOScheduler() if wrapped is None else wrapped

    def __repr__(self) -> str:
        """With the wrapped scheduler."""
        return f"{type(self).__name__}(wrapped={type(self._wrapped).__name__})"

    @property
    def metric(self) -> str | None:
        """Of the wrapped scheduler."""
        metric: str | None = self._wrapped.metric
        return metric

    @property
    def supports_buffered_results(self) -> bool:
        """As the wrapped scheduler does."""
        return bool(self._wrapped.supports_buffered_results)

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Hand metric and mode of ``TuneConfig`` to the wrapped scheduler."""
        self._metric, self._mode = metric, mode
        return self._wrapped.set_search_properties(metric, mode, **spec)

    def save(self, checkpoint_path: str) -> None:
        """Of the wrapped scheduler; verdicts are kept with the experiment."""
        self._wrapped.save(checkpoint_path)

    def restore(self, checkpoint_path: str) -> None:
        """Of the wrapped scheduler."""
        self._wrapped.restore(checkpoint_path)


def innermost(scheduler: TrialScheduler) -> TrialScheduler:
    """What schedulers that wrap schedulers wrap."""
    while isinstance(base := getattr(scheduler, "_base_scheduler", None), TrialScheduler):
        scheduler = base
    return scheduler


def waits_for_all(scheduler: TrialScheduler) -> bool:
    """Whether a scheduler compares all trials that it knows, so that they must come together."""
    scheduler = innermost(scheduler)
    if isinstance(scheduler, PopulationBasedTraining):
        return bool(scheduler._synch)
    # BOHB fills its brackets in time: it must only not be asked too early.
    return isinstance(scheduler, HyperBandScheduler) and not is_bohb(scheduler)


def is_bohb(scheduler: TrialScheduler) -> bool:
    """Whether a scheduler halves what it has as soon as nothing runs."""
    return isinstance(innermost(scheduler), HyperBandForBOHB)


def completes_configurations(scheduler: TrialScheduler) -> bool:
    """Whether a scheduler samples what the model may be built from."""
    return isinstance(innermost(scheduler), PopulationBasedTraining)


def would_halve_too_early(scheduler: TrialScheduler, controller: Any) -> bool:
    """Whether nothing runs or waits, which BOHB takes for a bracket that will not be filled.

    Args:
        scheduler: That is wrapped.
        controller: As it sees it.
    """
    live = controller.get_live_trials()
    busy = any(trial.status in (Trial.RUNNING, Trial.PENDING) for trial in live)
    return is_bohb(scheduler) and not busy


def mode_of(scheduler: TrialScheduler) -> str | None:
    """``"max"`` or ``"min"``, where a scheduler was told."""
    return getattr(innermost(scheduler), "_mode", None)


def go_on_with_forgotten(scheduler: TrialScheduler, controller: Any) -> None:
    """Have HyperBand go on with brackets whose trials would stay paused for ever.

    A trial that fails, as where its process or its node dies, leaves its bracket. HyperBand then
    looks at the others only if the bracket has never been halved, and is not in its last round;
    otherwise those that are paused already wait for ever, and with them the run
    (``benchmarks/faults/plain_ray_hang.py`` shows it without this package). BOHB looks after its
    brackets whenever nothing runs.

    Args:
        scheduler: That is wrapped.
        controller: As it sees it.
    """
    scheduler = innermost(scheduler)
    if not isinstance(scheduler, HyperBandScheduler) or is_bohb(scheduler):
        return
    for bracket in (b for band in scheduler._hyperbands for b in band if b is not None):
        trials = bracket.current_trials()
        wait = all(t.status == Trial.PAUSED and t not in bracket.trials_to_unpause for t in trials)
        if not trials or not wait or not bracket.cur_iter_done():
            continue
        if bracket.finished():
            bracket.cleanup_full(controller)
        else:
            scheduler._process_bracket(controller, bracket)
