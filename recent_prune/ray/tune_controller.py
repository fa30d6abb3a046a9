"""All that this package uses of Ray Tune beyond its documented interface, and why.

Tune has no way to hold a trial before it is started, so a scheduler that does must reach into the
`TuneController`. Every such use is in this module; ``tests/ray/test_tune_controller.py`` checks
each against the installed version, so that a new Ray that changes one fails there. Tested with
Ray 2.60.

==================================  ===============================================================
used                                why
==================================  ===============================================================
``_tune_controller`` of a wrapper   schedulers get a wrapper that warns of what it does not list
``_pending_trials_list``            what is pending and on this list is started, so a held trial is
                                    taken off; it stays PENDING, and thus within Tune's own bound on
                                    how many trials are sampled ahead
``_resources_to_pending_trials``    the same for actors that are used again
``_callbacks._callbacks``           loggers raise for a trial that ends without having started
``_iteration``                      argument of callbacks
``_mark_trial_to_checkpoint``       a trial that is stopped without an actor is not saved otherwise,
                                    and would be back after a restore
``Trial.init_local_path``           a ResultGrid cannot hold a trial without a folder
``Trial.update_last_result``        how a trial gets its metrics
``Trial.run_metadata.start_time``   tells a restored trial that ran from one that never did
``Trial.storage``                   where the experiment is kept
``OptunaSearch._ot_trials``         the Optuna trial to which the graded violation is told
``_base_scheduler``                 what a ``ResourceChangingScheduler`` wraps
==================================  ===============================================================
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.logger import LoggerCallback
from ray.tune.schedulers import TrialScheduler

logger = logging.getLogger(__name__)

CONSTRAINT = "recent_prune"
"""Name of the constraint that carries the graded violation, as in `recent_prune.optuna`."""


class ControllerView:
    """The controller as the wrapped scheduler sees it: without trials that it does not know."""

    def __init__(self, controller: Any, knows: Callable[[Trial], bool]) -> None:
        self._controller = controller
        self._knows = knows

    def get_trials(self) -> list[Trial]:
        """The trials that the scheduler knows."""
        return [trial for trial in self._controller.get_trials() if self._knows(trial)]

    def get_live_trials(self) -> set[Trial]:
        """The unfinished ones among them."""
        return {trial for trial in self._controller.get_live_trials() if self._knows(trial)}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._controller, name)


def unwrapped(controller: Any) -> Any:
    """The controller itself; Tune gives schedulers now the controller, now a wrapper."""
    return vars(controller).get("_tune_controller", controller)


def hold(controller: Any, trial: Trial) -> None:
    """Keep a pending trial from being started."""
    controller._pending_trials_list.remove(trial)
    controller._resources_to_pending_trials[trial.placement_group_factory].discard(trial)


def let_go(controller: Any, trial: Trial) -> None:
    """Let a held trial be started, after those that are pending already."""
    controller._pending_trials_list.append(trial)
    controller._resources_to_pending_trials[trial.placement_group_factory].add(trial)


def reject(controller: Any, trial: Any, metrics: Mapping[str, Any]) -> None:
    """End a held trial that never ran, with metrics, as one that did."""
    trial.init_local_path()
    result = {
        **metrics,
        "trial_id": trial.trial_id,
        "training_iteration": 0,
        "time_total_s": 0.0,
        "timestamp": int(time.time()),
        "config": trial.config,
        "done": True,
    }
    context = {"iteration": controller._iteration, "trials": controller.get_trials()}
    for callback in controller._callbacks._callbacks:
        if isinstance(callback, LoggerCallback):
            try:
                callback.on_trial_start(trial=trial, **context)
                callback.on_trial_result(trial=trial, result=dict(result), **context)
            except Exception:
                logger.warning(
                    "%s could not log that %s was rejected.", callback, trial, exc_info=True
                )
    trial.update_last_result(result)
    controller.stop_trial(trial)
    controller._mark_trial_to_checkpoint(trial)


def is_over(trial: Trial) -> bool:
    """Whether the trial is TERMINATED or ended with an ERROR."""
    return trial.status in (Trial.TERMINATED, Trial.ERROR)


def withdraw_nan(trial: Trial) -> None:
    """Turn metrics that are NaN in a trial's last result into missing ones."""
    for name, value in trial.last_result.items():
        if isinstance(value, float) and math.isnan(value):
            trial.last_result[name] = None


def storage_of(trial: Trial) -> tuple[Any, str]:
    """The filesystem (pyarrow's) and the folder of the experiment."""
    storage: Any = trial.storage
    return storage.storage_filesystem, storage.experiment_fs_path


def has_run(trial: Trial) -> bool:
    """Whether the trial was ever started, in this run or in the one that is restored."""
    return trial.run_metadata.start_time is not None


def innermost(scheduler: TrialScheduler) -> TrialScheduler:
    """What schedulers that wrap schedulers wrap."""
    while isinstance(base := getattr(scheduler, "_base_scheduler", None), TrialScheduler):
        scheduler = base
    return scheduler


def tell_optuna(controller: Any, trial_id: str, violation: float) -> bool:
    """Tell the graded violation to the Optuna trial behind a trial; False if there is none."""
    searcher = getattr(controller.search_alg, "searcher", None)
    while searcher is not None and not hasattr(searcher, "_ot_trials"):
        searcher = getattr(searcher, "searcher", None)
    trial = None if searcher is None else searcher._ot_trials.get(trial_id)
    if trial is None:
        return False
    try:
        if CONSTRAINT not in trial.constraints:
            trial.set_constraint(CONSTRAINT, violation)
    except Exception:  # Optuna's own affair, not a reason to end the run
        logger.warning("Optuna's trial of %s takes no constraint.", trial_id, exc_info=True)
    return True
