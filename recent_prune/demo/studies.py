"""The demo's two studies: with the pruner, and the same trials without it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

import optuna
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState
from torch import nn

from recent_prune.data import Images
from recent_prune.demo.network import Configuration
from recent_prune.optuna import ReconstructionEntropyPruner, probe_trial
from recent_prune.probe import probe

SETTINGS = "demo:settings"
"""Study attribute: what the study was started with, so that nothing else continues it."""
SOURCE = "demo:source"
"""Trial attribute of the second study: number of the trial that is repeated."""
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)

SAMPLERS: dict[str, Callable[..., optuna.samplers.BaseSampler]] = {
    "random": optuna.samplers.RandomSampler,
    "tpe": optuna.samplers.TPESampler,
}

Storage = str | optuna.storages.BaseStorage

Progress = Callable[[Study], None]
"""Called after every trial."""


@dataclass(frozen=True)
class Settings:
    """What a demo runs; a study continues only under the settings it was started with.

    Attributes:
        data: Name of the data set.
        train_samples: Number of training images.
        epochs: Epochs of a full training.
        sampler: A key of ``SAMPLERS``.
        seed: Of initializations, batches and sampler.
    """

    data: str
    train_samples: int
    epochs: int
    sampler: str
    seed: int


def warm_up(images: Images) -> None:
    """Probe and train once for nothing, so that no study pays for what PyTorch loads lazily."""
    configuration = Configuration(2, 32, "tanh", None, "adam", 1e-3, batch_size=64)
    model = configuration.build(images, seed=0)
    labelled = (images.train, images.train_labels)
    probe(model, labelled, training=configuration.training(images, epochs=15))
    for _ in configuration.train(model, images.head(64, 1), epochs=1, seed=0):
        pass


def run_pruned(
    storage: Storage, name: str, settings: Settings, images: Images, trials: int, progress: Progress
) -> Study:
    """Run or continue the study with the pruner until it has ``trials`` finished trials.

    Raises:
        ValueError: If a study of this name was started with other settings.
    """
    study = _open(storage, name, settings, ReconstructionEntropyPruner())
    # A sampler that starts from the same seed again would repeat its first suggestions.
    seed = settings.seed + len(study.trials)
    study.sampler = SAMPLERS[settings.sampler](seed=seed)

    def objective(trial: Trial) -> float:
        configuration = Configuration.suggest(trial)
        seed = settings.seed + trial.number
        model = configuration.build(images, seed)
        training = configuration.training(images, settings.epochs)
        verdict = probe_trial(trial, model, (images.train, images.train_labels), training=training)
        if trial.should_prune():
            raise optuna.TrialPruned(verdict.reason)
        return _train(trial, model, configuration, images, settings.epochs, seed)

    _optimize(study, objective, trials - len(_finished(study)), progress)
    return study


def run_reference(
    storage: Storage,
    name: str,
    settings: Settings,
    images: Images,
    pruned: Study,
    progress: Progress,
) -> Study:
    """Run or continue the same trials without probe and pruner, each to its end.

    Raises:
        ValueError: If a study of this name was started with other settings.
    """
    study = _open(storage, name, settings, optuna.pruners.NopPruner())
    _enqueue_missing(study, _finished(pruned))

    def objective(trial: Trial) -> float:
        if SOURCE not in trial.user_attrs:  # someone else took what was queued for us
            raise RuntimeError(f"Another process works on study {name!r}: run one at a time")
        configuration = Configuration.suggest(trial)
        seed = settings.seed + trial.user_attrs[SOURCE]
        model = configuration.build(images, seed)
        return _train(trial, model, configuration, images, settings.epochs, seed)

    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    _optimize(study, objective, len(waiting), progress)
    return study


def _train(
    trial: Trial,
    model: nn.Module,
    configuration: Configuration,
    images: Images,
    epochs: int,
    seed: int,
) -> float:
    accuracy = 0.0
    for epoch, accuracy in enumerate(configuration.train(model, images, epochs, seed), start=1):
        trial.report(accuracy, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned(f"Test accuracy {accuracy:.3f} after {epoch} epochs.")
    return accuracy


def _open(
    storage: Storage, name: str, settings: Settings, pruner: optuna.pruners.BasePruner
) -> Study:
    study = optuna.create_study(
        storage=storage,
        study_name=name,
        direction="maximize",
        pruner=pruner,
        load_if_exists=True,
    )
    ours = json.dumps(asdict(settings), sort_keys=True)
    theirs = study.user_attrs.get(SETTINGS, ours)
    if theirs != ours:
        raise ValueError(
            f"Study {name!r} was started with {theirs}, not {ours}: "
            "choose another --storage or --study-name."
        )
    study.set_user_attr(SETTINGS, ours)
    return study


def _optimize(
    study: Study, objective: Callable[[Trial], float], trials: int, progress: Progress
) -> None:
    progress(study)
    if trials > 0:
        study.optimize(objective, n_trials=trials, callbacks=[lambda study, _: progress(study)])


def _finished(study: Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=FINISHED)


def _enqueue_missing(study: Study, sources: list[FrozenTrial]) -> None:
    """Queue the source trials that neither ran here nor wait to; what was killed runs again."""
    known = {
        trial.user_attrs.get(SOURCE)
        for trial in study.get_trials(
            deepcopy=False, states=(TrialState.COMPLETE, TrialState.WAITING)
        )
    }
    for source in sources:
        if source.number not in known:
            study.enqueue_trial(source.params, user_attrs={SOURCE: source.number})
