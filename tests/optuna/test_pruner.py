from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from recent_prune.optuna import ReconstructionEntropyPruner, attributes
from recent_prune.probe import ProbeResult
from recent_prune.rules import SaturationRule, Verdict
from tests.optuna.studies import EPOCHS, check, condemned, objective, run, run_in_process
from tests.processes import FORKED

PRUNERS: dict[str, Callable[[], BasePruner | None]] = {
    "none": lambda: None,
    "nop": NopPruner,
    "median": lambda: MedianPruner(n_startup_trials=2),
    "percentile": lambda: optuna.pruners.PercentilePruner(40.0, n_startup_trials=2),
    "patient": lambda: optuna.pruners.PatientPruner(MedianPruner(n_startup_trials=2), patience=1),
    "halving": optuna.pruners.SuccessiveHalvingPruner,
    "hyperband": lambda: HyperbandPruner(max_resource=EPOCHS),
    "threshold": lambda: optuna.pruners.ThresholdPruner(lower=0.12),
    "wilcoxon": lambda: optuna.pruners.WilcoxonPruner(n_startup_steps=1),
}
SAMPLERS: dict[str, Callable[[], BaseSampler]] = {
    "random": lambda: optuna.samplers.RandomSampler(seed=0),
    "tpe": lambda: optuna.samplers.TPESampler(seed=0, n_startup_trials=5),
    "multivariate tpe": lambda: optuna.samplers.TPESampler(
        seed=0, n_startup_trials=5, multivariate=True, group=True
    ),
    "gp": lambda: optuna.samplers.GPSampler(seed=0, n_startup_trials=5),
    "cma-es": lambda: optuna.samplers.CmaEsSampler(seed=0, n_startup_trials=5),
    "nsga-ii": lambda: optuna.samplers.NSGAIISampler(seed=0, population_size=5),
    "qmc": lambda: optuna.samplers.QMCSampler(seed=0),
}


@pytest.mark.parametrize("pruner", PRUNERS)
def test_every_pruner_can_be_wrapped(pruner: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        wrapped = PRUNERS[pruner]()
    study = run(wrapped=wrapped)
    check(study, 12)


@pytest.mark.filterwarnings("ignore:GPSampler learns")
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_keeps_running(sampler: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # CMA-ES says, trial by trial, that it does not use constraints.
        warnings.filterwarnings("ignore", "Constraints have been set, but CmaEsSampler")
        study = run(20, sampler=SAMPLERS[sampler]())
    check(study, 20)


@pytest.mark.parametrize("storage", ["memory", "sqlite", "journal", "postgresql"])
def test_every_storage_keeps_the_verdicts(
    storage: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    def open_storage() -> str | BaseStorage:
        if storage == "sqlite":
            return f"sqlite:///{tmp_path / 'study.db'}"
        if storage == "journal":
            return JournalStorage(JournalFileBackend(str(tmp_path / "journal.log")))
        if storage == "postgresql":
            return str(request.getfixturevalue("postgresql"))
        return in_memory

    in_memory = optuna.storages.InMemoryStorage()
    study = run(storage=open_storage(), wrapped=MedianPruner(n_startup_trials=2))
    check(study, 12)
    again = optuna.load_study(study_name="study", storage=open_storage())
    assert [t.user_attrs for t in again.trials] == [t.user_attrs for t in study.trials]
    check(again, 12)


def test_threads_share_one_pruner() -> None:
    check(run(jobs=3, wrapped=MedianPruner(n_startup_trials=2)), 12)


def test_processes_share_one_storage(tmp_path: Path) -> None:
    optuna.create_study(
        storage=f"sqlite:///{tmp_path / 'study.db'}", study_name="study", direction="maximize"
    )
    processes = [FORKED.Process(target=run_in_process, args=(tmp_path, 8)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)
        assert process.exitcode == 0
    study = optuna.load_study(study_name="study", storage=f"sqlite:///{tmp_path / 'study.db'}")
    check(study, 16)


class Recording(BasePruner):
    """A wrapped pruner that prunes nothing and remembers what it was asked."""

    def __init__(self, answer: bool = False) -> None:
        self.answer, self.asked = answer, list[int]()

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        self.asked.append(trial.number)
        return self.answer


def test_the_wrapped_pruner_is_asked_about_all_that_is_not_condemned() -> None:
    wrapped = Recording()
    study = run(wrapped=wrapped)
    dead = {t.number for t in condemned(study)}
    assert set(wrapped.asked) == {t.number for t in study.trials} - dead
    assert len(wrapped.asked) == (EPOCHS + 1) * (12 - len(dead))


@pytest.mark.parametrize("answer", [True, False])
def test_a_trial_that_was_not_probed_is_left_to_the_wrapped_pruner(answer: bool) -> None:
    study = optuna.create_study(pruner=ReconstructionEntropyPruner(None, Recording(answer)))
    trial = study.ask()
    trial.report(0.5, 1)
    assert trial.should_prune() is answer


def test_a_condemned_trial_stays_condemned() -> None:
    study = optuna.create_study(pruner=ReconstructionEntropyPruner())
    trial = study.ask()
    trial.set_user_attr(attributes.TRIAL, trial.number)
    trial.set_user_attr(attributes.TRAINABLE, False)
    assert trial.should_prune()
    trial.report(0.99, 1)
    assert trial.should_prune()


class TestHyperband:
    def test_is_a_hyperband_pruner_to_optuna(self) -> None:
        wrapped = HyperbandPruner(max_resource=9)
        assert isinstance(ReconstructionEntropyPruner(None, wrapped), HyperbandPruner)
        assert isinstance(ReconstructionEntropyPruner(wrapped_pruner=wrapped), HyperbandPruner)
        assert not isinstance(ReconstructionEntropyPruner(None, MedianPruner()), HyperbandPruner)

    def test_samplers_see_the_brackets(self) -> None:
        """As with Hyperband alone, a sampler is shown the trials of one bracket only."""
        seen: dict[str, list[list[int]]] = {"wrapped": [], "alone": []}

        class Watching(optuna.samplers.TPESampler):
            def __init__(self, name: str) -> None:
                super().__init__(seed=0)
                self._name = name

            def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> Any:
                bracket = optuna.pruners._filter_study(study, trial)
                seen[self._name].append([t.number for t in bracket.trials])
                return super().infer_relative_search_space(study, trial)

        def plain(trial: Trial) -> float:
            x = trial.suggest_float("x", 0, 1)
            for step in range(9):
                trial.report(x * step, step)
                if trial.should_prune():
                    raise optuna.TrialPruned
            return x

        results = []
        for name, wrap in (
            ("wrapped", lambda p: ReconstructionEntropyPruner(wrapped_pruner=p)),
            ("alone", lambda p: p),
        ):
            study = optuna.create_study(
                study_name="study",
                sampler=Watching(name),
                pruner=wrap(HyperbandPruner(min_resource=1, max_resource=9)),
            )
            study.optimize(plain, n_trials=30)
            results.append([(t.state, t.params, t.intermediate_values) for t in study.trials])
        assert results[0] == results[1]
        assert seen["wrapped"] == seen["alone"]
        assert any(len(numbers) < i for i, numbers in enumerate(seen["wrapped"]))

    def test_can_be_pickled_and_copied(self) -> None:
        pruner = ReconstructionEntropyPruner(SaturationRule(), HyperbandPruner(max_resource=9))
        for twin in (pickle.loads(pickle.dumps(pruner)), copy.deepcopy(pruner)):
            assert isinstance(twin, HyperbandPruner)
            assert isinstance(twin, ReconstructionEntropyPruner)
            assert twin.rule == SaturationRule()


def test_a_rule_of_ones_own_decides() -> None:
    def everything(result: ProbeResult) -> Verdict:
        return Verdict(False, 0.25, f"{result.depth} layers are too many.")

    study = optuna.create_study(pruner=ReconstructionEntropyPruner(everything))
    study.optimize(objective, n_trials=2)
    for trial in study.trials:
        assert trial.state == TrialState.PRUNED
        assert trial.constraints == {"recent_prune": 0.25}
        assert trial.user_attrs[attributes.REASON].endswith("layers are too many.")


def test_repr_shows_rule_and_wrapped_pruner() -> None:
    pruner = ReconstructionEntropyPruner(SaturationRule(), HyperbandPruner())
    assert repr(pruner) == (
        "ReconstructionEntropyPruner(rule=SaturationRule(max_retained=0.005), "
        "wrapped_pruner=HyperbandPruner)"
    )


def test_finished_trials_may_be_added_without_a_probe() -> None:
    study = optuna.create_study(pruner=ReconstructionEntropyPruner(wrapped_pruner=MedianPruner()))
    study.add_trial(create_trial(value=0.5))
    assert not attributes.is_probed(study.trials[0])


def test_refuses_bad_arguments() -> None:
    with pytest.raises(TypeError, match=r"`rule` must be a rule \(an instance.*, but got 0.5"):
        ReconstructionEntropyPruner(0.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"not a class\), but got <class .*SaturationRule"):
        ReconstructionEntropyPruner(SaturationRule)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"got MedianPruner: did you mean wrapped_pruner=…\?"):
        ReconstructionEntropyPruner(MedianPruner())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="`wrapped_pruner` must be an Optuna pruner or None, but"):
        ReconstructionEntropyPruner(wrapped_pruner="median")  # type: ignore[arg-type]
