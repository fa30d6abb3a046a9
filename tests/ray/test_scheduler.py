from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pyarrow.fs
import pytest
import torch
from optuna.trial import FrozenTrial
from ray import tune
from ray.tune.schedulers import (
    ASHAScheduler,
    FIFOScheduler,
    HyperBandForBOHB,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    ResourceChangingScheduler,
    TrialScheduler,
)
from ray.tune.schedulers.pb2 import PB2
from ray.tune.search import ConcurrencyLimiter, Searcher
from ray.tune.search.optuna import OptunaSearch
from torch import nn

from recent_prune.ray import ReconstructionEntropyScheduler, probed_trials, tune_controller
from tests.ray.simulation import (
    SimulatedGate,
    SimulatedPool,
    TimedGate,
    improving,
    simulated,
    trainable,
    tuner,
)

pytestmark = pytest.mark.usefixtures("local_ray")

Make = Callable[[], TrialScheduler]


def pbt(**options: Any) -> PopulationBasedTraining:
    return PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=2,
        hyperparam_mutations={"lr": tune.uniform(0, 1)},
        **options,
    )


SCHEDULERS: dict[str, Make] = {
    "fifo": FIFOScheduler,
    "asha": lambda: ASHAScheduler(max_t=9),
    "asha, three brackets": lambda: ASHAScheduler(max_t=9, brackets=3, reduction_factor=2),
    "hyperband": lambda: HyperBandScheduler(max_t=9),
    "median": lambda: MedianStoppingRule(time_attr="training_iteration", grace_period=2),
    "pbt": pbt,
    "synchronous pbt": lambda: pbt(synch=True),
    "pb2": lambda: PB2(
        time_attr="training_iteration",
        perturbation_interval=8,
        hyperparam_bounds={"lr": [0.0, 1.0]},
    ),
    "resources": lambda: ResourceChangingScheduler(ASHAScheduler(max_t=9)),
}


def inner(*without: str) -> pytest.MarkDecorator:
    """A test for each scheduler. PB2 fits a Gaussian process to little, which warns of much."""
    quiet = {"pb2": pytest.mark.filterwarnings("ignore")}
    chosen = [
        pytest.param(make, id=name, marks=quiet.get(name, ()))
        for name, make in SCHEDULERS.items()
        if name not in without
    ]
    return pytest.mark.parametrize("make", chosen)


def space(count: int = 24, doomed: bool = True) -> dict[str, Any]:
    """A third of the trials is doomed, in no order."""
    numbers = random.Random(0)
    qualities = [numbers.random() for _ in range(count)]
    doomed_ones = set(numbers.sample(range(count), count // 3)) if doomed else set()
    return {
        "index": tune.grid_search(list(range(count))),
        "quality": tune.sample_from(lambda config: qualities[config["index"]]),
        "doomed": tune.sample_from(lambda config: config["index"] in doomed_ones),
    }


def each(results: tune.ResultGrid) -> list[Any]:
    return [results[number] for number in range(len(results))]


def optuna_trials(search: OptunaSearch) -> list[FrozenTrial]:
    study: Any = search._ot_study
    return list(study.trials)


def rejected(results: tune.ResultGrid) -> set[str]:
    ids = [r.metrics for r in each(results) if "recent_prune" in r.metrics]
    return {metrics["trial_id"] for metrics in ids}


def doomed(results: tune.ResultGrid) -> set[str]:
    return {r.metrics["trial_id"] for r in each(results) if r.metrics["config"]["doomed"]}


class TestGate:
    @inner()
    @pytest.mark.parametrize("polls", [0, 3])
    def test_doomed_trials_never_start_and_each_other_starts_once(
        self, make: Make, polls: int, tmp_path: Path
    ) -> None:
        with simulated() as log:
            results = tuner(tmp_path, SimulatedGate(make(), polls), space(), 1).fit()
        assert len(results) == 24
        assert results.num_errors == 0
        assert results.num_terminated == 24
        assert rejected(results) == doomed(results)
        assert len(doomed(results)) == 8
        assert Counter(log.started) == Counter(
            {r.metrics["trial_id"]: 1 for r in each(results)}.keys() - doomed(results)
        )

    @inner()
    def test_a_gate_that_lets_all_pass_changes_no_decision(
        self, make: Make, tmp_path: Path
    ) -> None:
        with simulated() as without:
            alone = tuner(tmp_path / "a", make(), space(doomed=False), 1).fit()
        with simulated() as with_gate:
            gated = tuner(tmp_path / "b", SimulatedGate(make()), space(doomed=False), 1).fit()
        assert with_gate.iterations == without.iterations
        assert with_gate.makespan_s == without.makespan_s
        columns = ["config/index", "score", "training_iteration"]
        assert gated.get_dataframe()[columns].equals(alone.get_dataframe()[columns])

    @pytest.mark.parametrize("name", ["hyperband", "synchronous pbt"])
    def test_slow_probes_do_not_change_who_is_compared_with_whom(
        self, name: str, tmp_path: Path
    ) -> None:
        make = SCHEDULERS[name]
        with simulated(slots=30) as without:
            alone = tuner(tmp_path / "a", make(), space(doomed=False), 1).fit()
        with simulated(slots=30) as with_gate:
            scheduler = TimedGate(make(), log=with_gate, probe_s=3.0)
            gated = tuner(tmp_path / "b", scheduler, space(doomed=False), 1).fit()
        columns = ["config/index", "score", "training_iteration"]
        assert gated.get_dataframe()[columns].equals(alone.get_dataframe()[columns])
        assert with_gate.iterations == without.iterations
        assert with_gate.makespan_s > without.makespan_s + 24 * 3.0

    def test_slow_probes_do_not_make_bohb_halve_brackets_that_are_not_full(
        self, tmp_path: Path
    ) -> None:
        def search() -> ConcurrencyLimiter:
            return ConcurrencyLimiter(_Suggestions(lambda _: False), max_concurrent=4)

        with simulated(slots=9) as without:
            alone = HyperBandForBOHB(max_t=9)
            tuner(tmp_path / "a", alone, {}, 18, search_alg=search()).fit()
        with simulated(slots=9) as with_gate:
            wrapped = HyperBandForBOHB(max_t=9)
            scheduler = TimedGate(wrapped, log=with_gate, probe_s=5.0)
            tuner(tmp_path / "b", scheduler, {}, 18, search_alg=search()).fit()
        # It resumes what it has when nothing runs, so that there is no one right schedule; with
        # brackets halved as they stood it trained twice as much.
        assert len(with_gate.iterations) < 1.2 * len(without.iterations)
        assert wrapped._num_stopped >= alone._num_stopped

    def test_a_cohort_does_not_wait_for_trials_that_were_sampled_later(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TUNE_MAX_PENDING_TRIALS_PG", "8")
        searcher = _Suggestions(lambda number: number > 3, count=200)
        scheduler = SimulatedGate(HyperBandScheduler(max_t=9), polls=1)
        first: list[int] = []

        class Looks(tune.Callback):
            def on_trial_start(
                self, iteration: int, trials: list[Any], trial: Any, **_: Any
            ) -> None:
                first.append(len(trials))

        with simulated() as log:
            run = {"callbacks": [Looks()]}
            tuner(tmp_path, scheduler, {}, 200, search_alg=searcher, run=run).fit()
        assert len(set(log.started)) == 3
        assert first[0] < 30

    @pytest.mark.parametrize("name", ["fifo", "asha", "pbt"])
    def test_workers_that_are_used_again(self, name: str, tmp_path: Path) -> None:
        with simulated(slots=3) as log:
            results = tuner(
                tmp_path, SimulatedGate(SCHEDULERS[name](), 2), space(), 1, reuse_actors=True
            ).fit()
        assert log.resets > 0
        assert results.num_errors == 0
        assert rejected(results) == doomed(results)
        assert not set(log.started) & doomed(results)
        assert len(set(log.started)) == 16

    def test_hyperband_gets_its_trials_in_one_cohort(self, tmp_path: Path) -> None:
        scheduler = SimulatedGate(HyperBandScheduler(max_t=9), polls=5)
        # 60 trials come in 4 batches; HyperBand would have halved the first while others wait.
        with simulated(slots=60) as log:
            tuner(tmp_path, scheduler, space(60), 1).fit()
        first = [iteration for _, iteration in log.iterations[:40]]
        assert first == [1] * 40

    def test_pbt_completes_configurations_before_the_probe_sees_them(self, tmp_path: Path) -> None:
        seen: list[Any] = []

        class Pool(SimulatedPool):
            def submit(self, candidate: Any) -> None:
                seen.append(candidate.config["lr"])
                super().submit(candidate)

        class Gate(SimulatedGate):
            def _make_pool(self) -> Pool:
                return Pool()

        with simulated():
            tuner(tmp_path, Gate(pbt()), space(6), 1).fit()
        assert len(seen) == 6
        assert all(0 <= lr <= 1 for lr in seen)

    def test_a_trial_that_failed_is_tried_again_without_another_probe(self, tmp_path: Path) -> None:
        scheduler = SimulatedGate()
        controller, trial = _Controller(), _trial("a")
        scheduler.on_trial_add(controller, trial)
        controller.add(trial)
        scheduler.choose_trial_to_run(controller)
        pool: Any = scheduler._run.gate._pool  # type: ignore[union-attr]
        scheduler.on_trial_error(controller, trial)
        scheduler.on_trial_add(controller, trial)
        scheduler.choose_trial_to_run(controller)
        assert pool.probed == ["a"]

    def test_debug_string_counts(self, tmp_path: Path) -> None:
        scheduler = SimulatedGate()
        with simulated():
            tuner(tmp_path, scheduler, {**space(9), "fault": False}, 1).fit()
        assert scheduler.debug_string() == (
            "Using FIFO scheduling algorithm.\n"
            "Reconstruction entropy: 6 passed, 3 rejected, 0 held, 0 could not be probed"
        )

    def test_given_to_a_second_run_the_gate_starts_anew(self, tmp_path: Path) -> None:
        scheduler = SimulatedGate(ASHAScheduler(max_t=9, metric="score", mode="max"))
        for name in ("first", "second"):
            with simulated() as log:
                results = tuner(tmp_path / name, scheduler, space(9), 1, metric=None).fit()
            assert len(log.started) == 6
            assert rejected(results) == doomed(results)
        assert "6 passed, 3 rejected" in scheduler.debug_string()


class TestFaults:
    @pytest.mark.parametrize(("on_fault", "started"), [("run", 8), ("reject", 4)])
    def test_a_trial_that_cannot_be_probed_runs_or_does_not(
        self, on_fault: Any, started: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        scheduler = SimulatedGate(on_fault=on_fault)
        faulty = {
            "index": tune.grid_search(list(range(8))),
            "quality": 0.5,
            "fault": tune.sample_from(lambda config: config["index"] % 2 == 0),
        }
        with simulated() as log, caplog.at_level("WARNING", logger="recent_prune"):
            results = tuner(tmp_path, scheduler, faulty, 1).fit()
        assert len(log.started) == started
        assert "4 could not be probed" in scheduler.debug_string()
        warnings = [record.getMessage() for record in caplog.records]
        assert len(warnings) == 2  # the first, and how many at the end
        assert "could not be probed (RuntimeError: as told)" in warnings[0]
        assert "4 could not be probed" in warnings[1]
        assert f"on_fault='{on_fault}'" in warnings[0]
        assert len(rejected(results)) == 8 - started

    def test_reason_of_a_fault_is_a_metric(self, tmp_path: Path) -> None:
        with simulated():
            results = tuner(
                tmp_path, SimulatedGate(on_fault="reject"), {"quality": 1.0, "fault": True}, 1
            ).fit()
        assert results[0].metrics is not None
        assert results[0].metrics["recent_prune"] == {
            "trainable": False,
            "reason": "It could not be probed: RuntimeError: as told",
        }


class _Suggestions(Searcher):
    """A searcher that keeps account, for HyperBandForBOHB as well."""

    def __init__(self, doomed: Callable[[int], bool], count: int = 10**6) -> None:
        super().__init__(metric="score", mode="max")
        self.suggested = 0
        self.unfinished: set[str] = set()
        self.most = 0
        self.without_result: list[str] = []
        self._doomed, self._count = doomed, count

    def suggest(self, trial_id: str) -> Any:
        if self.suggested == self._count:
            return Searcher.FINISHED
        self.suggested += 1
        self.unfinished.add(trial_id)
        self.most = max(self.most, len(self.unfinished))
        return {"quality": 0.5, "doomed": self._doomed(self.suggested), "index": self.suggested}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        self.unfinished.discard(trial_id)
        if result is None:
            self.without_result.append(trial_id)

    def on_pause(self, trial_id: str) -> None:
        pass

    def on_unpause(self, trial_id: str) -> None:
        pass

    def save(self, checkpoint_path: str) -> None:
        Path(checkpoint_path).write_text("{}")

    def restore(self, checkpoint_path: str) -> None:
        pass


class TestSearchers:
    def test_random_and_grid_variants(self, tmp_path: Path) -> None:
        variants = {
            "doomed": tune.grid_search([False, True]),
            "quality": tune.uniform(0, 1),
        }
        with simulated() as log:
            results = tuner(tmp_path, SimulatedGate(), variants, 10).fit()
        assert len(results) == 20
        assert len(log.started) == 10
        assert rejected(results) == doomed(results)

    def test_optuna_hears_of_a_rejected_trial_as_pruned_with_its_violation(
        self, tmp_path: Path
    ) -> None:
        search = OptunaSearch()
        search_space = {"quality": tune.uniform(0, 1), "doomed": tune.choice([False, True])}
        with simulated() as log:
            tuner(tmp_path, SimulatedGate(polls=2), search_space, 16, search_alg=search).fit()
        trials = optuna_trials(search)
        assert len(trials) == 16
        states = Counter((t.params["doomed"], t.state.name) for t in trials)
        assert set(states) == {(True, "PRUNED"), (False, "COMPLETE")}
        assert len(log.started) == states[False, "COMPLETE"]
        for trial in trials:
            expected = 0.5 if trial.params["doomed"] else -0.5
            assert trial.constraints == {"recent_prune": expected}

    @pytest.mark.parametrize("limit", [1, 3])
    def test_concurrency_limiter_counts_held_trials(self, limit: int, tmp_path: Path) -> None:
        searcher = _Suggestions(lambda number: number % 2 == 0)
        limited = ConcurrencyLimiter(searcher, max_concurrent=limit)
        with simulated() as log:
            results = tuner(tmp_path, SimulatedGate(polls=2), {}, 12, search_alg=limited).fit()
        assert len(results) == 12
        assert len(log.started) == 6
        assert searcher.most == limit
        assert len(searcher.without_result) == 6

    def test_bohb_schedules_what_passes(self, tmp_path: Path) -> None:
        searcher = _Suggestions(lambda number: number % 3 == 0)
        scheduler = SimulatedGate(HyperBandForBOHB(max_t=9), polls=1)
        limited = ConcurrencyLimiter(searcher, max_concurrent=4)
        with simulated() as log:
            results = tuner(tmp_path, scheduler, {}, 12, search_alg=limited).fit()
        assert len(results) == 12
        assert rejected(results) == doomed(results)
        assert len(log.started) == 8

    def test_endless_sampling_stays_bounded_and_ends_with_its_budget(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TUNE_MAX_PENDING_TRIALS_PG", "20")
        forever = {"quality": 0.5, "doomed": tune.choice([False, True])}
        held: list[int] = []

        class Pool(SimulatedPool):
            def poll(self, *args: Any, **kwargs: Any) -> list[Any]:
                held.append(len(self._queue))
                return super().poll(*args, **kwargs)

        class Gate(SimulatedGate):
            def _make_pool(self) -> Pool:
                return Pool(polls=3)

        with simulated() as log:
            results = tuner(tmp_path, Gate(), forever, -1, time_budget_s=2.0).fit()
        assert max(held) == 20
        assert results.num_errors == 0
        assert 0 < len(log.started) < len(results)
        assert not set(log.started) & rejected(results)

    def test_a_budget_that_ends_while_trials_are_held(self, tmp_path: Path) -> None:
        class Pool(SimulatedPool):
            def poll(self, *args: Any, **kwargs: Any) -> list[Any]:
                time.sleep(0.05)
                return [] if self.probed else super().poll(*args, **kwargs)

        class Gate(SimulatedGate):
            def _make_pool(self) -> Pool:
                return Pool(batch_size=2)

        with simulated():
            results = tuner(tmp_path, Gate(), space(9), 1, time_budget_s=1.0).fit()
        assert len(results) == 9
        assert results.num_terminated == 9
        assert len(results.get_dataframe()) == 2


class _Strict(tune.logger.LoggerCallback):
    """As the loggers of MLflow, W&B and Comet do: a run for a trial, looked up by the trial."""

    def __init__(self) -> None:
        self.runs: dict[Any, list[dict[str, Any]]] = {}
        self.ended: list[Any] = []

    def log_trial_start(self, trial: Any) -> None:
        assert trial not in self.runs
        self.runs[trial] = []

    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:
        self.runs[trial].append({"step": result["training_iteration"], **result})

    def log_trial_end(self, trial: Any, failed: bool = False) -> None:
        self.runs[trial]
        self.ended.append(trial)


class _Greedy(tune.logger.LoggerCallback):
    """Expects the metric in every result."""

    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:
        result["score"]

    def log_trial_end(self, trial: Any, failed: bool = False) -> None:
        trial.last_result["score"]


class TestResults:
    def test_a_rejected_trial_is_a_result_like_others(self, tmp_path: Path) -> None:
        with simulated():
            results = tuner(tmp_path, SimulatedGate(), space(9), 1).fit()
        table = results.get_dataframe()
        out = table[table["recent_prune/trainable"].eq(False)]
        assert len(out) == 3
        assert (out["recent_prune/violation"] == 0.5).all()
        assert (out["recent_prune/cutoff"] == 3).all()
        assert (out["recent_prune/seconds"] == 0.01).all()
        assert (out["recent_prune/retained"] == 0.0).all()
        assert (out["recent_prune/reason"] == "As told.").all()
        assert out["score"].isna().all()
        assert (out["training_iteration"] == 0).all()
        best = results.get_best_result()
        assert best.metrics is not None
        assert best.metrics["score"] == table["score"].max()
        assert not best.metrics["config"]["doomed"]
        for result in each(results):
            assert result.error is None
            assert Path(result.path).is_dir()

    def test_probes_of_all_trials_can_be_read(self, tmp_path: Path) -> None:
        with simulated():
            results = tuner(tmp_path, SimulatedGate(), space(9), 1).fit()
        for source in (results, tmp_path / "run", str(tmp_path / "run")):
            probes = probed_trials(source)
            assert len(probes) == 9
            assert set(probes.loc[~probes["trainable"].astype(bool), "trial_id"]) == doomed(results)

    def test_json_csv_and_tensorboard_have_the_rejected_trial(self, tmp_path: Path) -> None:
        with simulated():
            results = tuner(tmp_path, SimulatedGate(), {"quality": 0.5, "doomed": True}, 1).fit()
        folder = Path(results[0].path)
        logged = json.loads((folder / "result.json").read_text())
        assert logged["recent_prune"]["reason"] == "As told."
        assert "recent_prune/violation" in (folder / "progress.csv").read_text().splitlines()[0]
        assert list(folder.glob("events.out.tfevents.*"))
        assert results[0].metrics_dataframe is not None
        assert results[0].metrics_dataframe["recent_prune/retained"].tolist() == [0.0]

    @pytest.mark.parametrize("verbose", [1, 2])
    @pytest.mark.parametrize("engine", ["0", "1"])
    def test_progress_of_held_trials_is_shown(
        self, verbose: int, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Tune has two of them; notebooks get the old one."""
        monkeypatch.setenv("RAY_AIR_NEW_OUTPUT", engine)
        with simulated():
            results = tuner(
                tmp_path, SimulatedGate(polls=3), space(9), 1, run={"verbose": verbose}
            ).fit()
        assert results.num_terminated == 9

    def test_loggers_that_look_up_their_run_survive(self, tmp_path: Path) -> None:
        strict = _Strict()
        with simulated():
            results = tuner(
                tmp_path, SimulatedGate(), space(9), 1, run={"callbacks": [strict]}
            ).fit()
        assert results.num_terminated == 9
        assert len(strict.runs) == len(strict.ended) == 9
        single = [r for r in strict.runs.values() if len(r) == 1]
        assert len(single) == 3
        assert all(r[0]["recent_prune"]["violation"] == 0.5 and r[0]["step"] == 0 for r in single)

    def test_a_logger_that_wants_the_metric_does_not_stop_the_run(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        with simulated(), caplog.at_level("WARNING", logger="recent_prune"):
            results = tuner(
                tmp_path, SimulatedGate(), space(9), 1, run={"callbacks": [_Greedy()]}
            ).fit()
        assert results.num_terminated == 9
        assert "_Greedy" in caplog.text
        assert "failed for a trial that was rejected" in caplog.text

    def test_probes_of_an_earlier_run_of_the_same_name_are_left_out(self, tmp_path: Path) -> None:
        for _ in range(2):
            with simulated():
                results = tuner(tmp_path, SimulatedGate(), space(9), 1).fit()
        assert len(probed_trials(results)) == 9
        assert len(probed_trials(tmp_path / "run")) == 18

    def test_all_rejected(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        with simulated() as log, caplog.at_level("WARNING", logger="recent_prune"):
            results = tuner(tmp_path, SimulatedGate(), {"quality": 0.5, "doomed": True}, 5).fit()
        assert log.worker_starts == 0
        assert results.num_terminated == 5
        assert "all 5 trials were rejected" in caplog.text
        with pytest.raises(RuntimeError, match="No best trial found"):
            results.get_best_result()


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
            raise _DriverDiedError
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
        with simulated(slots=2) as first, pytest.raises(_DriverDiedError):
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


class TestWithinTheTrial:
    """A trial that reports its own verdict, as `probe_and_report` does."""

    @staticmethod
    def report(config: dict[str, Any], iteration: int) -> dict[str, Any]:
        if config["doomed"]:
            known = {"trainable": False, "violation": 0.5}
            return {"score": float("nan"), "recent_prune": known}
        return improving(config, iteration)

    @inner("synchronous pbt")
    def test_it_is_stopped_and_the_wrapped_scheduler_forgets_it(
        self, make: Make, tmp_path: Path
    ) -> None:
        scheduler = ReconstructionEntropyScheduler(wrapped=make())
        with simulated(report=self.report) as log:
            results = tuner(tmp_path, scheduler, space(), 1).fit()
        assert results.num_terminated == 24
        assert len(log.started) == 24
        assert rejected(results) == doomed(results)
        ran = Counter(index for index, _ in log.iterations)
        for result in each(results):
            if result.metrics["config"]["doomed"]:
                assert ran[result.metrics["config"]["index"]] == 1
        assert scheduler.debug_string().endswith("8 condemned by a probe within the trial")

    def test_a_stop_criterion_that_it_meets_makes_no_difference(self, tmp_path: Path) -> None:
        wrapped = ASHAScheduler(max_t=9)
        run = {"stop": {"training_iteration": 1}}
        with simulated(report=self.report):
            scheduler = ReconstructionEntropyScheduler(wrapped=wrapped)
            results = tuner(tmp_path, scheduler, space(), 1, run=run).fit()
        recorded = [value for _, rung in wrapped._brackets[0]._rungs for value in rung.values()]
        assert len(recorded) == 16
        assert all(value == value for value in recorded)
        assert "8 condemned" in scheduler.debug_string()
        assert results.num_errors == 0

    def test_optuna_with_two_objectives_hears_of_it_as_pruned(self, tmp_path: Path) -> None:
        search = OptunaSearch(metric=["score", "other"], mode=["max", "min"])
        search_space = {"quality": tune.uniform(0, 1), "doomed": tune.choice([False, True])}

        def report(config: dict[str, Any], iteration: int) -> dict[str, Any]:
            return {"other": float("nan"), **self.report(config, iteration)} | (
                {} if config["doomed"] else {"other": 1.0}
            )

        scheduler = ReconstructionEntropyScheduler()
        with simulated(report=report):
            tuner(tmp_path, scheduler, search_space, 16, metric=None, search_alg=search).fit()
        assert {(t.params["doomed"], t.state.name) for t in optuna_trials(search)} == {
            (True, "PRUNED"),
            (False, "COMPLETE"),
        }

    def test_optuna_hears_of_it_as_pruned(self, tmp_path: Path) -> None:
        search = OptunaSearch()
        search_space = {"quality": tune.uniform(0, 1), "doomed": tune.choice([False, True])}
        scheduler = ReconstructionEntropyScheduler()
        with simulated(report=self.report):
            tuner(tmp_path, scheduler, search_space, 16, search_alg=search).fit()
        trials = optuna_trials(search)
        assert {(t.params["doomed"], t.state.name) for t in trials} == {
            (True, "PRUNED"),
            (False, "COMPLETE"),
        }
        assert all(t.constraints == {"recent_prune": 0.5} for t in trials if t.params["doomed"])


class TestMetricAndMode:
    def test_may_be_the_wrapped_schedulers_own(self, tmp_path: Path) -> None:
        scheduler = SimulatedGate(ASHAScheduler(max_t=9, metric="score", mode="max"))
        with simulated():
            results = tuner(tmp_path, scheduler, space(9), 1, metric=None).fit()
        assert scheduler.metric == "score"
        assert results.num_terminated == 9

    def test_set_twice_is_the_error_that_tune_gives(self, tmp_path: Path) -> None:
        scheduler = SimulatedGate(ASHAScheduler(max_t=9, metric="score", mode="max"))
        with simulated(), pytest.raises(ValueError, match="already instantiated with their own"):
            tuner(tmp_path, scheduler, space(9), 1).fit()

    def test_buffering_is_the_wrapped_schedulers(self) -> None:
        assert not ReconstructionEntropyScheduler(
            wrapped=HyperBandScheduler()
        ).supports_buffered_results
        assert ReconstructionEntropyScheduler(wrapped=ASHAScheduler()).supports_buffered_results


def build(config: dict[str, Any]) -> nn.Module:
    return nn.Linear(4, 2)


class TestArguments:
    inputs = torch.rand(32, 4)

    def test_a_model_that_cannot_be_pickled(self) -> None:
        import threading

        lock = threading.Lock()

        def holds_a_lock(config: dict[str, Any]) -> nn.Module:
            with lock:
                return build(config)

        with pytest.raises(TypeError, match=r"`build_model` must be picklable.*holds_a_lock"):
            ReconstructionEntropyScheduler(holds_a_lock, self.inputs)

    def test_given_twice(self) -> None:
        once = ReconstructionEntropyScheduler(build, self.inputs)
        with pytest.raises(TypeError, match="`wrapped` must be another scheduler, but got this"):
            ReconstructionEntropyScheduler(build, self.inputs, wrapped=once)
        with pytest.raises(TypeError, match="`wrapped` must be another scheduler, but got this"):
            ReconstructionEntropyScheduler(
                build, self.inputs, wrapped=ResourceChangingScheduler(once)
            )

    def test_inputs_are_checked_at_once(self) -> None:
        with pytest.raises(ValueError, match="`inputs` must hold at least 16 samples, but got 3"):
            ReconstructionEntropyScheduler(build, torch.rand(3, 4))

    def test_only_as_many_inputs_as_the_probe_needs_are_sent(self) -> None:
        scheduler = ReconstructionEntropyScheduler(build, torch.rand(100_000, 4))
        assert scheduler._settings is not None
        assert len(scheduler._settings) < 10_000

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"wrapped": "asha"}, "`wrapped` must be a Tune scheduler .*, but got 'asha'"),
            ({"wrapped": ASHAScheduler}, "an instance, not a class. or None, but got <class"),
            (
                {"build_model": nn.Linear(4, 2)},
                "`build_model` must be a function .* but got Linear",
            ),
            ({"rule": dict}, "`rule` must be a rule .an instance, not a class., but got <class"),
            ({"inputs": None}, "`build_model` and `inputs` must be given together"),
            ({"build_model": 3}, "`build_model` must be a function .* but got 3"),
        ],
    )
    def test_types(self, options: dict[str, Any], message: str) -> None:
        arguments = {"build_model": build, "inputs": self.inputs, **options}
        with pytest.raises(TypeError, match=message):
            ReconstructionEntropyScheduler(**arguments)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"on_fault": "ignore"}, "`on_fault` must be 'run' or 'reject', but got 'ignore'"),
            ({"batch_size": 0}, "`batch_size` must be a whole number of at least 1, but got 0"),
            ({"probe_actors": 1.5}, "`probe_actors` must be a whole number of at least 1, but"),
            ({"timeout_s": 0}, "`timeout_s` must be positive seconds, but got 0"),
            ({"idle_s": float("nan")}, "`idle_s` must be positive seconds, but got nan"),
            ({"probe_resources": {"GPU": -1}}, "must not be negative, but got GPU=-1"),
            ({"probe_resources": {"gpu": 0.5}}, "has 'gpu'; Ray calls it 'GPU'"),
            ({"probe_resources": {"num_cpus": 1}}, "has 'num_cpus'; Ray calls it 'CPU'"),
            ({"probe_resources": {"GPU": 1.5}}, "above 1 must be whole numbers, but got GPU=1.5"),
            ({"estimator": "none"}, "`estimator` must be 'ridge', 'cascade'"),
        ],
    )
    def test_ranges(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            ReconstructionEntropyScheduler(build, self.inputs, **options)

    def test_repr(self) -> None:
        assert repr(ReconstructionEntropyScheduler(build, self.inputs)) == (
            "ReconstructionEntropyScheduler(wrapped=FIFOScheduler)"
        )


class _Controller:
    """As much of Tune's controller as a gate needs for one trial."""

    def __init__(self) -> None:
        self._trials: list[Any] = []
        self._pending_trials_list: list[Any] = []
        self._resources_to_pending_trials: dict[Any, set[Any]] = {None: set()}
        self.search_alg: Any = SimpleNamespace(is_finished=lambda: False)

    def add(self, trial: Any) -> None:
        self._trials.append(trial)
        self._pending_trials_list.append(trial)

    def get_trials(self) -> list[Any]:
        return self._trials

    def get_live_trials(self) -> set[Any]:
        return set(self._trials)


class _Trial(SimpleNamespace):
    __hash__ = object.__hash__  # type: ignore[assignment]


def _trial(trial_id: str) -> Any:
    storage = SimpleNamespace(
        storage_filesystem=pyarrow.fs._MockFileSystem(), experiment_fs_path="run"
    )
    return _Trial(
        trial_id=trial_id,
        status="PENDING",
        config={},
        storage=storage,
        run_metadata=SimpleNamespace(start_time=None),
        placement_group_factory=None,
        init_local_path=lambda: None,
    )
