from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import optuna
import pytest
from optuna.storages import InMemoryStorage
from optuna.study import Study
from optuna.trial import FixedTrial, FrozenTrial, Trial, TrialState
from torch import nn

import recent_prune as rp
from recent_prune.optuna import (
    ReconstructionEntropyPruner,
    attributes,
    audit,
    calibrated,
    certified,
    probe_trial,
)
from recent_prune.optuna.certified import agreed, past_trials
from recent_prune.rules.certified import FittedScore, PastTrial
from tests.optuna.certified_study import (
    INPUTS,
    RULE,
    create,
    fit_together,
    fit_with,
    objective,
    tried,
)
from tests.processes import FORKED


@pytest.fixture(scope="module")
def study() -> Study:
    """Of 150 trials, as it ended."""
    study = create()
    study.optimize(objective, n_trials=150)
    return study


class TestStudy:
    def test_watches_then_prunes_and_audits(self, study: Study) -> None:
        past = past_trials(study.trials)
        run = [trial for trial in study.trials if not attributes.carries_fit(trial)]
        assert len(study.trials) == len(run) + 1 == 151
        assert [trial.number for trial in past] == [trial.number for trial in run]
        first = next(i for i, trial in enumerate(past) if trial.score is not None)
        assert 0 < first < 100
        assert all(trial.score is not None for trial in past[first:])
        condemned = [trial for trial in past if trial.share is not None]
        assert {trial.ran for trial in condemned} == {True, False}
        for trial, stored in zip(past, run, strict=True):
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

    def test_goes_on_by_the_bound_that_it_was_fitted_with(self) -> None:
        storage = InMemoryStorage()
        study = create(storage)
        study.set_user_attr(attributes.STUDY_FITTED, fit_with(intercept=1.0).to_dict())
        study.optimize(objective, n_trials=1)
        fitted = study.user_attrs[attributes.STUDY_FITTED]["good_bound"]
        other = rp.CertifiedRule(better_than=fitted + 0.1, max_false_prune_rate=0.2, confidence=0.8)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10))
        with pytest.raises(ValueError, match=rf"`better_than` must be {fitted}, by which .* got "):
            probe_trial(study.ask(), model, INPUTS, rule=other)


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


class TestSeveralProcesses:
    """A study goes by one fit, whoever fits at the same time."""

    def test_who_fits_later_goes_by_the_first_fit(self) -> None:
        storage = InMemoryStorage()
        one, other = create(storage), create(storage)
        early, late = fit_with(intercept=1.0), fit_with(intercept=2.0)

        def fit(*_: object) -> FittedScore:
            """While the one fits, the other does, and judges a trial."""
            if len(one.trials) > 1:
                return early
            tried(other)
            return late

        with mock.patch.object(rp.CertifiedRule, "fit", fit):
            tried(one)
        for study in (one, other):
            tried(study, 2)
        assert judged_by(one) == early
        carriers = [trial.number for trial in one.trials if attributes.carries_fit(trial)]
        assert carriers == [2, 3]
        assert [t.number for t in past_trials(one.trials)] == [0, 1, *range(4, 8)]

    def test_of_those_that_were_handed_in_the_first_counts(self) -> None:
        storage = InMemoryStorage()
        one, other = create(storage), create(storage)
        early, late = ({"threshold": number} for number in (1, 2))
        add = Study.add_trial

        def add_late(study: Study, trial: FrozenTrial) -> None:
            if study is one:
                assert agreed(other, early) == early
            add(study, trial)

        with mock.patch.object(Study, "add_trial", add_late):
            assert agreed(one, late) == early
        assert agreed(create(storage), late) == early

    @pytest.mark.filterwarnings("ignore:BruteForceSampler is experimental")
    @pytest.mark.parametrize(
        ("make", "points"),
        [
            (lambda: optuna.samplers.BruteForceSampler(seed=0), 4),
            (lambda: optuna.samplers.GridSampler({"x": [0, 1], "y": [0, 1]}, seed=0), 4),
            (lambda: optuna.samplers.TPESampler(n_startup_trials=1, seed=0), None),
            (lambda: optuna.samplers.NSGAIISampler(population_size=2, seed=0), None),
        ],
    )
    def test_no_sampler_minds_the_trial_that_carries_a_fit(
        self, make: Callable[[], optuna.samplers.BaseSampler], points: int | None
    ) -> None:
        study = optuna.create_study(sampler=make())

        def objective(trial: Trial) -> float:
            found = [float(trial.suggest_int(name, 0, 1)) for name in "xy"]
            if trial.number == 2:
                agreed(trial.study, {"threshold": 1})
            return sum(found)

        study.optimize(objective, n_trials=6)
        complete = study.get_trials(states=(TrialState.COMPLETE,))
        (carrier,) = (trial for trial in study.trials if attributes.carries_fit(trial))
        assert carrier.state == TrialState.FAIL
        assert carrier.params == complete[0].params
        if points is not None:
            assert len(complete) == len({tuple(t.params.items()) for t in complete}) == points
        else:
            assert len(complete) == 6

    def test_a_fit_is_never_handed_out_to_be_run(self) -> None:
        study = create()
        agreed(study, fit_with(intercept=1.0).to_dict())
        assert study.ask().number == 1
        with pytest.raises(ValueError, match="nothing to audit"):
            audit(study)

    def test_two_real_processes(self, tmp_path: Path) -> None:
        storage = f"sqlite:///{tmp_path / 'study.db'}"
        create(storage)
        both = FORKED.Barrier(2)
        workers = [
            FORKED.Process(target=fit_together, args=(storage, both, number)) for number in (1, 2)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(timeout=300)
            worker.kill()
        assert [worker.exitcode for worker in workers] == [0, 0]
        study = create(storage)
        handed_in = [t for t in study.trials if attributes.STUDY_FITTED in t.user_attrs]
        assert len(handed_in) == 2
        first = handed_in[0].user_attrs[attributes.STUDY_FITTED]
        assert judged_by(study) == FittedScore.from_dict(first)
        assert len([t for t in past_trials(study.trials) if t.score is not None]) == 6


def judged_by(study: Study) -> FittedScore:
    """The fit of the study, by which all trials were judged that were judged by any."""
    fitted = FittedScore.from_dict(study.user_attrs[attributes.STUDY_FITTED])
    judged = [trial for trial in past_trials(study.trials) if trial.score is not None]
    assert judged
    for trial in judged:
        assert trial.score == pytest.approx(fitted.score(trial.features, trial.parameters), 1e-4)
    return fitted


def test_what_was_read_before_is_as_if_it_were_read_anew(study: Study) -> None:
    copy = create()
    known = certified._Past()
    rng = random.Random(0)
    for trial in study.trials[:40]:
        if rng.random() < 0.5:
            copy.add_trial(trial)
        else:
            going_on = copy.ask()
            for key, value in {**trial.user_attrs, attributes.TRIAL: going_on.number}.items():
                going_on.set_user_attr(key, value)
        number = rng.randrange(len(copy.trials) + 1)
        asked = mock.Mock(study=copy, number=number)
        past, settled = known.before(asked)
        assert past == [t for t in past_trials(copy.trials) if t.number < number]
        assert all(t.ended for t in past[: settled.count])


def test_a_trial_takes_no_longer_after_many() -> None:
    study = create()
    study.optimize(objective, n_trials=30)
    with mock.patch.object(certified, "PastTrial", wraps=PastTrial) as read:
        study.optimize(objective, n_trials=1)
    assert read.call_count == 1


def test_is_reached_from_the_top_without_being_loaded_by_it() -> None:
    assert rp.CertifiedRule.__name__ == "CertifiedRule"
    with pytest.raises(AttributeError, match="module 'recent_prune' has no attribute 'Nothing'"):
        rp.Nothing  # noqa: B018
