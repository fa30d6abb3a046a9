"""The gate, with every scheduler that can be wrapped."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.fs
import pytest
from ray import tune
from ray.tune.schedulers import (
    ASHAScheduler,
    HyperBandForBOHB,
    HyperBandScheduler,
)
from ray.tune.search import ConcurrencyLimiter

from recent_prune.ray import ReconstructionEntropyScheduler, probed_trials
from tests.ray.simulation import (
    SimulatedGate,
    SimulatedPool,
    TimedGate,
    simulated,
    tuner,
)
from tests.ray.sweeps import (
    SCHEDULERS,
    Make,
    Suggestions,
    doomed,
    each,
    inner,
    pbt,
    rejected,
    space,
)

pytestmark = pytest.mark.usefixtures("local_ray")


class TestGate:
    @inner()
    def test_doomed_trials_never_start_and_each_other_starts_once(
        self, make: Make, tmp_path: Path
    ) -> None:
        self.sweep(make, 3, tmp_path)

    @pytest.mark.parametrize("name", ["fifo", "hyperband", "synchronous pbt"])
    def test_nor_do_they_with_probes_that_answer_at_once(self, name: str, tmp_path: Path) -> None:
        self.sweep(SCHEDULERS[name], 0, tmp_path)

    def sweep(self, make: Make, polls: int, tmp_path: Path) -> None:
        with simulated() as log:
            results = tuner(tmp_path, SimulatedGate(make(), polls), space(), 1).fit()
        assert len(results) == len(probed_trials(results)) == 24
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
            alone = tuner(tmp_path / "a", make(), space(18, doomed=False), 1).fit()
        with simulated() as with_gate:
            gated = tuner(tmp_path / "b", SimulatedGate(make()), space(18, doomed=False), 1).fit()
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
            return ConcurrencyLimiter(Suggestions(lambda _: False), max_concurrent=4)

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
        searcher = Suggestions(lambda number: number > 3, count=200)
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
        assert f"on_fault='{on_fault}' says. Further" in warnings[0]
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
        run_metadata=SimpleNamespace(start_time=None, error_filename=None),
        placement_group_factory=None,
        init_local_path=lambda: None,
    )
