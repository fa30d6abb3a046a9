from __future__ import annotations

import math

import optuna
import pytest
import torch
from optuna.study import Study
from optuna.trial import TrialState

from recent_prune.data import Images, load_digits
from recent_prune.demo import Settings, run_pruned, run_reference
from recent_prune.demo.network import Configuration
from recent_prune.demo.studies import FINISHED, SOURCE
from recent_prune.optuna import attributes

SETTINGS = Settings("digits", 256, epochs=2, sampler="random", seed=0)
TRIALS = 8


@pytest.fixture(scope="module")
def images() -> Images:
    return load_digits().head(256, 100)


def quiet(study: Study) -> None:
    pass


def test_kept_trials_train_bit_for_bit_as_without_the_pruner(images: Images) -> None:
    storage = optuna.storages.InMemoryStorage()
    study = run_pruned(storage, "demo", SETTINGS, images, TRIALS, quiet)
    reference = run_reference(storage, "reference", SETTINGS, images, study, quiet)
    assert len(study.trials) == len(reference.trials) == TRIALS
    states = {t.state for t in study.trials}
    assert states == {TrialState.COMPLETE, TrialState.PRUNED}
    for trial, full in zip(study.trials, reference.trials, strict=True):
        assert full.user_attrs == {SOURCE: trial.number}
        assert full.params == trial.params
        assert full.state == TrialState.COMPLETE
        assert len(full.intermediate_values) == SETTINGS.epochs
        if trial.state == TrialState.COMPLETE:
            assert full.intermediate_values == trial.intermediate_values
        else:
            assert trial.user_attrs[attributes.TRAINABLE] is False


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemError])
def test_an_interrupted_study_goes_on_where_it_stopped(
    images: Images, kind: type[BaseException]
) -> None:
    """KeyboardInterrupt leaves a failed trial; a killed process one that runs for ever."""
    storage = optuna.storages.InMemoryStorage()

    def interrupt(study: Study) -> None:
        if len(study.get_trials(states=FINISHED)) == 3:
            study.ask()  # as a killed process would leave it
            raise kind("stopped here")

    with pytest.raises(kind, match="stopped here"):
        run_pruned(storage, "demo", SETTINGS, images, TRIALS, interrupt)
    study = run_pruned(storage, "demo", SETTINGS, images, TRIALS, quiet)
    finished = study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))
    assert len(finished) == TRIALS
    assert len({t.params["learning_rate"] for t in finished}) == TRIALS  # nothing repeated

    with pytest.raises(kind, match="stopped here"):
        run_reference(storage, "reference", SETTINGS, images, study, interrupt)
    reference = run_reference(storage, "reference", SETTINGS, images, study, quiet)
    complete = reference.get_trials(states=(TrialState.COMPLETE,))
    assert {t.user_attrs[SOURCE] for t in complete} == {t.number for t in finished}
    assert len(complete) == TRIALS


def test_a_finished_study_runs_nothing_again(images: Images) -> None:
    storage = optuna.storages.InMemoryStorage()
    run_pruned(storage, "demo", SETTINGS, images, 2, quiet)
    study = run_pruned(storage, "demo", SETTINGS, images, 2, quiet)
    assert len(study.trials) == 2


def test_a_second_process_is_noticed(images: Images) -> None:
    storage = optuna.storages.InMemoryStorage()
    study = run_pruned(storage, "demo", SETTINGS, images, 2, quiet)

    def steal(reference: Study) -> None:
        reference.ask()

    with pytest.raises(RuntimeError, match="Another process works on study 'reference'"):
        run_reference(storage, "reference", SETTINGS, images, study, steal)


def test_other_settings_do_not_continue_a_study(images: Images) -> None:
    storage = optuna.storages.InMemoryStorage()
    run_pruned(storage, "demo", SETTINGS, images, 1, quiet)
    other = Settings("digits", 256, epochs=3, sampler="random", seed=0)
    with pytest.raises(ValueError, match=r"'demo' .*was started with .*\"epochs\": 2.* not .*3"):
        run_pruned(storage, "demo", other, images, 1, quiet)


def test_the_probe_makes_the_first_steps_of_the_trial(images: Images) -> None:
    storage = optuna.storages.InMemoryStorage()
    study = run_pruned(storage, "demo", SETTINGS, images, TRIALS, quiet)
    for trial in study.trials:
        steps = trial.user_attrs[attributes.STEPS]
        assert steps["budget"] == 2 * 256 // trial.params["batch_size"]
        assert steps["learning_rate"] == pytest.approx(trial.params["learning_rate"], rel=1e-3)


def test_the_space_has_rates_optimizers_and_both_initializations(images: Images) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [Configuration.suggest(study.ask()) for _ in range(200)]
    assert {c.optimizer for c in drawn} == {"adam", "momentum", "rmsprop"}
    assert min(c.learning_rate for c in drawn) < 3e-5
    assert max(c.learning_rate for c in drawn) > 0.3
    own = [c for c in drawn if c.weight_variance is not None]
    assert 80 < len(own) < 120
    default = next(c for c in drawn if c.weight_variance is None)
    state = torch.random.get_rng_state()
    first, second = (next(default.build(images, seed=1).parameters()) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(state, torch.random.get_rng_state())
    assert float(first.detach().abs().max()) <= 1 / math.sqrt(first.shape[1])  # uniform
