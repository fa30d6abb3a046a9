"""What a run leaves: results, logs, progress."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ray import tune

from recent_prune.ray import probed_trials
from recent_prune.report import StudyReport, trials_table
from tests.ray.simulation import (
    SimulatedGate,
    simulated,
    tuner,
)
from tests.ray.sweeps import (
    doomed,
    each,
    space,
)

pytestmark = pytest.mark.usefixtures("local_ray")


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

    def test_a_run_is_reported_on_like_a_study(self, tmp_path: Path) -> None:
        with simulated():
            results = tuner(tmp_path, SimulatedGate(), space(9), 1).fit()
        table = trials_table(results)
        assert table["number"].tolist() == list(range(9))
        condemned = table["param:doomed"].tolist()
        assert (table["trainable"] == False).tolist() == condemned  # noqa: E712
        assert (table["state"] == "PRUNED").tolist() == condemned
        assert table["value"].isna().tolist() == condemned
        assert table["epochs"].tolist() == [0 if dead else 9 for dead in condemned]
        probe = table["probe_seconds"]
        trained = [0.0 if dead else 9.0 for dead in condemned]
        assert (table["seconds"] - probe).tolist() == pytest.approx(trained)
        assert (probe > 0).all()
        report = StudyReport.of(results)
        assert str(report.summary.loc["pruned by the probe", "value"]).startswith(
            f"{sum(condemned)} ("
        )
        assert set(report.pruned["reason"]) == {"As told."}
        assert "recent_prune: Ray Tune" in report.page()

    def test_json_csv_and_tensorboard_have_the_rejected_trial(self, tmp_path: Path) -> None:
        with simulated(tensorboard=True):
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
