from __future__ import annotations

import random
import signal
import time
from collections import Counter
from pathlib import Path

import optuna
import pytest
from optuna.study import Study
from optuna.trial import FixedTrial, TrialState
from torch import nn

import recent_prune as rp
from recent_prune.optuna import (
    ReconstructionEntropyPruner,
    attributes,
    audit,
    calibrated,
    probe_trial,
)
from recent_prune.optuna.certified import past_trials
from tests.optuna.certified_study import INPUTS, RULE, create, objective, work
from tests.processes import FORKED

EACH = 12
"""Trials of each of several processes."""


@pytest.fixture(scope="module")
def study() -> Study:
    """Of 150 trials, as it ended."""
    study = create()
    study.optimize(objective, n_trials=150)
    return study


class TestStudy:
    def test_watches_then_prunes_and_audits(self, study: Study) -> None:
        past = past_trials(study.trials)
        assert [trial.number for trial in past] == list(range(150))
        first = next(i for i, trial in enumerate(past) if trial.score is not None)
        assert 0 < first < 100
        assert all(trial.score is not None for trial in past[first:])
        condemned = [trial for trial in past if trial.share is not None]
        assert {trial.ran for trial in condemned} == {True, False}
        for trial, stored in zip(past, study.trials, strict=True):
            assert stored.state == (TrialState.COMPLETE if trial.ran else TrialState.PRUNED)
            assert (stored.constraints["recent_prune"] > 0) == (not trial.ran)
            assert trial.share is None or 0.2 <= trial.share <= 1
        assert study.best_value == max(t.value for t in past if t.value is not None)

    def test_another_process_goes_on_where_one_stopped(self, tmp_path: Path) -> None:
        storage = f"sqlite:///{tmp_path / 'study.db'}"
        create(storage).optimize(objective, n_trials=80)
        fitted = create(storage).user_attrs[attributes.STUDY_FITTED]
        create(storage).optimize(objective, n_trials=20)
        assert create(storage).user_attrs[attributes.STUDY_FITTED] == fitted
        past = past_trials(create(storage).trials)
        assert len(past) == 100
        assert all(trial.score is not None for trial in past[80:])

    def test_minimizes_where_the_study_does(self) -> None:
        rule = rp.CertifiedRule(better_than=0.3, max_false_prune_rate=0.2, confidence=0.8)
        study = optuna.create_study(
            pruner=ReconstructionEntropyPruner(rule), sampler=optuna.samplers.RandomSampler(seed=0)
        )
        study.optimize(lambda trial: 1 - objective(trial), n_trials=80)
        assert study.user_attrs[attributes.STUDY_RULE]["direction"] == "minimize"
        table = audit(study).over_time
        shallow = {t.number for t in study.trials if t.params["depth"] <= 12}
        assert set(table.loc[table["good"].eq(True), "number"]) <= shallow

    def test_networks_that_are_not_finite_are_pruned_without_a_record(self) -> None:
        study = create()
        trial = study.ask()
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10))
        nn.init.constant_(model[1].weight, float("nan"))  # type: ignore[arg-type]
        assert not probe_trial(trial, model, INPUTS).trainable
        assert trial.should_prune()
        assert past_trials(study.trials) == []

    def test_needs_a_study_with_one_objective(self) -> None:
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Tanh(), nn.Linear(10, 10))
        with pytest.raises(ValueError, match="needs a trial of a study with one objective"):
            probe_trial(FixedTrial({}), model, INPUTS, rule=RULE)
        two = optuna.create_study(directions=["maximize", "minimize"])
        with pytest.raises(ValueError, match="needs a trial of a study with one objective"):
            probe_trial(two.ask(), model, INPUTS, rule=RULE)


class TestCalibrated:
    def test_a_new_study_need_not_watch(self) -> None:
        watching = rp.CertifiedRule(better_than=0.7)  # 299 good trials are more than there are
        earlier = [create(rule=watching) for _ in range(2)]
        for study in earlier:
            study.optimize(objective, n_trials=60)
        rule = calibrated(RULE, *earlier)
        assert rule.fitted is not None
        assert rule.settings() == RULE.settings()
        new = create(rule=rule)
        new.optimize(objective, n_trials=30)
        assert all(trial.score is not None for trial in past_trials(new.trials))
        assert any(trial.share is not None for trial in past_trials(new.trials))
        assert audit(new).summary["value"][0] == 30

    def test_too_few_trials_or_other_directions(self) -> None:
        few = create()
        few.optimize(objective, n_trials=3)
        with pytest.raises(ValueError, match="cannot calibrate the rule: about "):
            calibrated(RULE, few)
        with pytest.raises(ValueError, match="with one objective and all of one direction"):
            calibrated(RULE, few, optuna.create_study(direction="minimize"))
        several = optuna.create_study(directions=["minimize", "maximize"])
        with pytest.raises(ValueError, match="with one objective and all of one direction"):
            calibrated(RULE, several)


class TestAudit:
    def test_adds_up(self, study: Study) -> None:
        found = audit(study)
        value = found.summary.set_index("figure")["value"]
        pruned = [t for t in study.trials if t.state == TrialState.PRUNED]
        assert value["trials"] == value["probed"] == 150
        assert value["of these pruned"] == len(pruned) > 0
        assert value["condemned"] == value["of these pruned"] + value["of these run as audit"]
        assert value["good"] == sum(t.value is not None and t.value >= 0.7 for t in study.trials)
        assert value["good trials lost, at most"] <= len(pruned)
        assert value["tolerated rate"] == "20.00%"
        assert float(value["seconds spent on probes"]) > 0
        assert found.over_time["rate_at_most"].max() <= 0.2
        assert found.over_time["good_seen"].is_monotonic_increasing
        assert found.summary["assumption"].str.contains("80% confidence").sum() == 2

    def test_while_it_watches_nothing_is_lost(self) -> None:
        study = create()
        study.optimize(objective, n_trials=5)
        value = audit(study).summary.set_index("figure")["value"]
        assert value["condemned"] == 0
        assert value["rate of good trials lost, at most"] == "0.00%"

    def test_a_study_under_another_rule_has_none(self) -> None:
        with pytest.raises(ValueError, match="has no trials that rung zero ranked"):
            audit(optuna.create_study())


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_processes_that_are_killed_lose_no_record_and_count_none_twice(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    path = tmp_path / "study.db"
    storage = f"sqlite:///{path}" if kind == "sqlite" else request.getfixturevalue("postgresql")
    study = create(storage)
    workers = [FORKED.Process(target=work, args=(storage, EACH)) for _ in range(8)]
    for worker in workers:
        worker.start()
    numbers = random.Random(0)
    end = time.monotonic() + 300
    try:
        for count, worker in zip((20, 40, 60), numbers.sample(workers, 3), strict=True):
            # Of one study, since each that is opened keeps a connection until it is collected.
            while len(study.get_trials(deepcopy=False)) < count and time.monotonic() < end:
                time.sleep(0.2 * numbers.random())
            worker.kill()
        for worker in workers:
            worker.join(timeout=max(end - time.monotonic(), 1))
        codes = [worker.exitcode for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.join()
    assert codes.count(-signal.SIGKILL) >= 2
    create(storage).optimize(objective, n_trials=10)
    study = create(storage)
    past = past_trials(study.trials)
    assert set(Counter(trial.number for trial in past).values()) == {1}
    finished = [t for t in study.trials if t.state.is_finished()]
    assert len(finished) >= 5 * EACH + 10
    assert {t.number for t in finished} <= {trial.number for trial in past}
    for trial in past:
        stored = study.trials[trial.number]
        if stored.state == TrialState.PRUNED:
            assert trial.share is not None
            assert not trial.ran
        if stored.state == TrialState.COMPLETE:
            assert trial.ran
    value = audit(study).summary.set_index("figure")["value"]
    assert value["condemned"] == value["of these pruned"] + value["of these run as audit"]
    assert value["of these pruned"] == sum(not trial.ran for trial in past)


def test_is_reached_from_the_top_without_being_loaded_by_it() -> None:
    assert rp.CertifiedRule.__name__ == "CertifiedRule"
    with pytest.raises(AttributeError, match="module 'recent_prune' has no attribute 'Nothing'"):
        rp.Nothing  # noqa: B018
