"""What is used of Tune's internals is there, and means what it is taken for.

These tests fail loudly where a new Ray changes it; the table in the module says what each is for.
"""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from ray import tune
from ray.tune.execution.tune_controller import TrialRunnerWrapper, TuneController
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search.optuna import OptunaSearch

from recent_prune.ray import schedulers, tune_controller
from tests.ray.simulation import simulated, tuner

pytestmark = pytest.mark.usefixtures("local_ray")


class _Spy(FIFOScheduler):
    """Calls a function with the controller before trials are started."""

    def __init__(self, look: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._look = look

    def choose_trial_to_run(self, controller: Any) -> Any:
        self._look(controller)
        return super().choose_trial_to_run(controller)


def look_into_a_run(
    path: Path, look: Any, num_samples: int = 2, **options: Any
) -> tuple[tune.ResultGrid, Any]:
    with simulated() as log:
        space = {"quality": tune.uniform(0.0, 1.0)}
        return tuner(path, _Spy(look), space, num_samples, **options).fit(), log


def test_versions_that_are_tested_are_stated() -> None:
    stated = re.search(r"Tested with\s+Ray (\d+\.\d+)", tune_controller.__doc__ or "")
    assert stated is not None
    assert version("ray").startswith(f"{stated[1]}.")


def test_every_private_use_is_in_the_two_modules_and_in_their_tables() -> None:
    """Names of Ray with a leading underscore occur nowhere else."""
    folder = Path(tune_controller.__file__).parent
    private = re.compile(r"(?:controller|trial|scheduler|searcher|_callbacks)\w*\.(_[a-z]\w*)")
    for module in (tune_controller, schedulers):
        used = set(
            private.findall((folder / f"{module.__name__.rpartition('.')[2]}.py").read_text())
        )
        assert used
        assert [name for name in used if name not in (module.__doc__ or "")] == []
    for file in folder.glob("*.py"):
        if file.name not in ("tune_controller.py", "schedulers.py"):
            assert not private.findall(file.read_text()), file


def test_schedulers_get_the_controller_or_its_wrapper(tmp_path: Path) -> None:
    seen: list[Any] = []
    look_into_a_run(tmp_path, seen.append)
    assert {type(controller) for controller in seen} == {TrialRunnerWrapper}
    inner = tune_controller.unwrapped(seen[0])
    assert type(inner) is TuneController
    assert tune_controller.unwrapped(inner) is inner


def test_a_trial_that_is_held_is_pending_and_does_not_start(tmp_path: Path) -> None:
    held: list[Trial] = []
    steps: list[int] = []

    def look(controller: Any) -> None:
        inner = tune_controller.unwrapped(controller)
        steps.append(len(inner._staged_trials))
        if not held:
            held.append(inner.get_trials()[0])
            assert held[0] in inner._pending_trials_list
            assert held[0] in inner._resources_to_pending_trials[held[0].placement_group_factory]
            tune_controller.hold(inner, held[0])
        elif len(steps) == 8:
            assert held[0].status == Trial.PENDING
            assert sum(t.status == Trial.RUNNING for t in inner.get_trials()) == 1
            tune_controller.let_go(inner, held[0])

    class Unsuggested(_Spy):
        def choose_trial_to_run(self, controller: Any) -> None:
            self._look(controller)  # what a scheduler returns here is started, held or not

    with simulated() as log:
        results = tuner(tmp_path, Unsuggested(look), {"quality": 0.5}, 2).fit()
    assert len(steps) > 8
    assert results.num_terminated == 2
    assert log.worker_starts == 2


def test_a_pending_trial_counts_against_the_bound_on_sampling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNE_MAX_PENDING_TRIALS_PG", "3")
    most: list[int] = []

    def look(controller: Any) -> None:
        most.append(sum(t.status == Trial.PENDING for t in controller.get_trials()))

    look_into_a_run(tmp_path, look, num_samples=10)
    assert max(most) == 3


def test_without_the_mark_a_rejected_trial_would_be_back(tmp_path: Path) -> None:
    """Stopping a trial that has no actor does not save it; `reject` marks it."""
    saved: list[set[Trial]] = []

    def look(controller: Any) -> None:
        inner = tune_controller.unwrapped(controller)
        for trial in inner.get_trials():
            if trial.status == Trial.PENDING:
                tune_controller.hold(inner, trial)
                inner._trials_to_cache.clear()
                tune_controller.reject(inner, trial, {"a": 1})
                saved.append(set(inner._trials_to_cache))

    results, log = look_into_a_run(tmp_path, look)
    assert log.worker_starts == 0
    assert [len(trials) for trials in saved] == [1, 1]
    assert results.get_dataframe()["a"].tolist() == [1, 1]


def test_a_trial_knows_whether_it_ran_and_where_it_is_kept(tmp_path: Path) -> None:
    states: dict[str, set[bool]] = {}

    def look(controller: Any) -> None:
        for trial in controller.get_trials():
            states.setdefault(trial.status, set()).add(tune_controller.has_run(trial))
            _, folder = tune_controller.storage_of(trial)
            assert folder == str(tmp_path / "run")

    look_into_a_run(tmp_path, look, num_samples=6)
    assert states[Trial.PENDING] == {False}
    assert states[Trial.RUNNING] == {True}


def test_trials_wait_until_they_have_a_slot(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    def look(controller: Any) -> None:
        pending = sum(trial.status == Trial.PENDING for trial in controller.get_trials())
        seen.append((pending, tune_controller.waiting(controller, lambda trial: False)))

    look_into_a_run(tmp_path, look, num_samples=7)  # four slots
    assert all(waiting <= pending for pending, waiting in seen)
    starting = [pending - waiting for pending, waiting in seen]
    assert 3 <= max(starting) <= 4  # pending to Tune, but they have their slots
    assert max(waiting for _, waiting in seen) >= 3


def test_held_trials_do_not_wait(tmp_path: Path) -> None:
    def look(controller: Any) -> None:
        assert tune_controller.waiting(controller, lambda trial: True) == 0

    look_into_a_run(tmp_path, look)


def test_a_result_grid_has_its_trials(tmp_path: Path) -> None:
    results, _ = look_into_a_run(tmp_path, lambda controller: None)
    assert tune_controller.metric_of(results) == "score"
    trials = tune_controller.trials_of(results)
    assert [trial.status for trial in trials] == [Trial.TERMINATED] * 2
    assert {trial.trial_id for trial in trials} == {
        metrics["trial_id"] for metrics in (results[index].metrics for index in range(2)) if metrics
    }


def test_optuna_trial_takes_the_violation(tmp_path: Path) -> None:
    search = OptunaSearch()

    def look(controller: Any) -> None:
        for trial in controller.get_trials():
            tune_controller.tell_optuna(controller, trial.trial_id, 0.25)

    look_into_a_run(tmp_path, look, search_alg=search)
    study: Any = search._ot_study
    assert [t.constraints for t in study.trials] == [{"recent_prune": 0.25}] * 2


def test_other_searchers_are_told_nothing(tmp_path: Path) -> None:
    def look(controller: Any) -> None:
        for trial in controller.get_trials():
            tune_controller.tell_optuna(controller, trial.trial_id, 0.25)

    results, _ = look_into_a_run(tmp_path, look)
    assert results.num_terminated == 2
