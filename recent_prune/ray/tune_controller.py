"""All that this package uses of Ray Tune beyond its documented interface, and why.

Tune has no way to hold a trial before it is started, so a scheduler that does must reach into the
`TuneController`. Every such use is in this module, or, where it is of a wrapped scheduler, in
`schedulers`; ``tests/ray/test_tune_controller.py`` and ``test_schedulers.py`` check each against
the installed version, so that a new Ray that changes one fails there. Tested with Ray 2.60.

==================================  ===============================================================
used                                why
==================================  ===============================================================
``_tune_controller`` of a wrapper   schedulers get a wrapper that warns of what it does not list
``_pending_trials_list``            what is pending and on this list is started, so a held trial is
                                    taken off; it stays PENDING, and thus within Tune's own bound on
                                    how many trials are sampled ahead
``_resources_to_pending_trials``    the same for actors that are used again
``update_max_pending_trials``,      searchers are asked for one trial ahead, which leaves nothing to
``_max_pending_trials``             rank
``_callbacks._callbacks``           loggers raise for a trial that ends without having started
``_iteration``                      argument of callbacks
``_set_trial_status``               ends a trial (schedulers are allowed to)
``_mark_trial_to_checkpoint``       a trial that ends without an actor is not saved otherwise, and
                                    would be back after a restore
``Trial.init_local_path``           neither reporters nor a ResultGrid can do with a trial that has
                                    no folder
``Trial.run_metadata``              ``error_filename``: whether it ran out of memory; ``start_time``
                                    tells a restored trial that ran from one that never did
``Trial.local_path``                where that file is before it is in the storage
``Trial.update_last_result``        how a trial gets its metrics
``Trial.storage``                   where the experiment is kept
``OptunaSearch._ot_trials``         the Optuna trial to which the graded violation is told
``OptunaSearch._ot_study``,         where a trial of several objectives is pruned: Tune would tell
``_completed_trials``               Optuna a list of missing values, which it refuses
``_trial_to_actor``,                whether a pending trial waits for resources or for its worker
``_actor_manager``                  to start, for which it has them
``ResultGrid._experiment_analysis`` the trials with their states, and the metric, which the grid
                                    does not tell
==================================  ===============================================================
"""

from __future__ import annotations

import logging
import posixpath
import time
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow.fs
import ray
from ray.tune import ResultGrid
from ray.tune.experiment import Trial
from ray.tune.logger import LoggerCallback
from ray.tune.search.optuna import optuna_search

from recent_prune.probe.restoring.memory import tells_of_memory

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


def sample_ahead(controller: Any, trials: int) -> None:
    """Have at least so many trials sampled before they are started."""
    if controller._max_pending_trials < trials:
        controller.update_max_pending_trials(trials)


def prepare(trial: Any) -> None:
    """Give a trial its folder, as Tune does when it stages one."""
    trial.init_local_path()


def reject(controller: Any, trial: Any, metrics: Mapping[str, Any]) -> None:
    """End a held trial that never ran, with metrics, as Tune ends one that did.

    Not by ``stop_trial``: there a callback that misses what only a trial that ran can have ends
    the whole run.
    """
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
    callbacks = controller._callbacks._callbacks
    for callback in callbacks:
        if isinstance(callback, LoggerCallback):
            _tell(callback.on_trial_start, trial=trial, **context)
            _tell(callback.on_trial_result, trial=trial, result=dict(result), **context)
    trial.update_last_result(result)
    _tell(controller.search_alg.on_trial_complete, trial.trial_id)
    for callback in callbacks:
        _tell(callback.on_trial_complete, trial=trial, **context)
    controller._set_trial_status(trial, Trial.TERMINATED)
    controller.get_live_trials().discard(trial)
    controller._mark_trial_to_checkpoint(trial)


def _tell(hook: Callable[..., object], *args: Any, **kwargs: Any) -> None:
    """Call what is not ours; its failure is no reason to end the run."""
    try:
        hook(*args, **kwargs)
    except Exception:
        logger.warning("%s failed for a trial that was rejected.", hook, exc_info=True)


def is_over(trial: Trial) -> bool:
    """Whether the trial is TERMINATED or ended with an ERROR."""
    return trial.status in (Trial.TERMINATED, Trial.ERROR)


def waiting(controller: Any, held: Callable[[Trial], bool]) -> int:
    """How many trials that are not held wait for resources; not those whose worker is starting."""
    pending = [
        trial
        for trial in controller.get_live_trials()
        if trial.status == Trial.PENDING and not held(trial)
    ]
    unasked = sum(trial not in controller._trial_to_actor for trial in pending)
    without_resources: int = controller._actor_manager.num_pending_actors
    return unasked + min(without_resources, len(pending) - unasked)


def trials_of(experiment: ResultGrid) -> list[Trial]:
    """The trials of a run that ended."""
    trials: list[Trial] = experiment._experiment_analysis.trials
    return trials


def metric_of(experiment: ResultGrid) -> str | None:
    """The tuner's metric, where it was told one."""
    metric: str | None = experiment._experiment_analysis.default_metric
    return metric


def storage_of(trial: Trial) -> tuple[Any, str]:
    """The filesystem (pyarrow's) and the folder of the experiment."""
    storage: Any = trial.storage
    return storage.storage_filesystem, storage.experiment_fs_path


def ran_out_of_memory(trial: Trial) -> bool:
    """Whether the last error of a trial is that."""
    name = trial.run_metadata.error_filename
    if name is None:
        return False
    storage: Any = trial.storage
    places = [(storage.storage_filesystem, storage.trial_fs_path)]
    if ray.is_initialized():  # the storage may not have it yet; without Ray there is no local path
        places.insert(0, (pyarrow.fs.LocalFileSystem(), trial.local_path))
    for filesystem, folder in places:
        try:
            with filesystem.open_input_stream(posixpath.join(folder, name)) as stream:
                return tells_of_memory(stream.readall().decode(errors="replace"))
        except OSError:
            continue
    return False


def ran_out_alone(trial: Trial) -> bool:
    """Likewise, and it had no share of an accelerator, of which another trial may have the rest."""
    resources: Any = trial.placement_group_factory
    share = 0 if resources is None else resources.required_resources.get("GPU", 0)
    return not 0 < share < 1 and ran_out_of_memory(trial)


def has_run(trial: Trial) -> bool:
    """Whether the trial was ever started, in this run or in the one that is restored."""
    return trial.run_metadata.start_time is not None


def tell_optuna(controller: Any, trial_id: str, violation: float) -> None:
    """Tell the graded violation to the Optuna trial behind a trial, if there is one."""
    searcher = _optuna_search(controller)
    trial = None if searcher is None else searcher._ot_trials.get(trial_id)
    if trial is not None and CONSTRAINT not in trial.constraints:
        _tell(trial.set_constraint, CONSTRAINT, violation)


def prune_in_optuna(controller: Any, trial: Trial) -> None:
    """Have a trial that ran, but has no value, count as pruned."""
    searcher = _optuna_search(controller)
    if searcher is None:
        return
    if isinstance(searcher.metric, list):
        optuna_trial = searcher._ot_trials[trial.trial_id]
        pruned = vars(optuna_search)["OptunaTrialState"].PRUNED
        _tell(searcher._ot_study.tell, optuna_trial, state=pruned)
        searcher._completed_trials.add(trial.trial_id)
        return
    # To it a missing value means pruned, while NaN would be an error.
    trial.last_result[searcher.metric] = None


def _optuna_search(controller: Any) -> Any:
    searcher = getattr(controller.search_alg, "searcher", None)
    while searcher is not None and not hasattr(searcher, "_ot_trials"):
        searcher = getattr(searcher, "searcher", None)
    return searcher
