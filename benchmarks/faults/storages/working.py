"""What one of the processes does, and notes of it."""

from __future__ import annotations

import json
import os
import traceback
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial
from torch import nn

import recent_prune as rp
from benchmarks.faults.storages.places import opened
from recent_prune.optuna import ReconstructionEntropyPruner, probe_trial

STUDY = "faults"
KEEP = 1 / 4
RULE = rp.CertifiedRule(better_than=0.7, max_false_prune_rate=0.2, confidence=0.8, audit_share=0.2)

PRUNERS: dict[str, BasePruner] = {
    "plain": NopPruner(),
    "a rule": ReconstructionEntropyPruner(),
    "keep=1/4": ReconstructionEntropyPruner(keep=KEEP, explore=0.1),
    "CertifiedRule": ReconstructionEntropyPruner(RULE),
}


class Notes:
    """Lines of JSON in a file of this process; what was noted stays when it is killed."""

    def __init__(self, folder: Path) -> None:
        path = folder / f"{os.getpid()}.jsonl"
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(self, what: str, trial: int = -1, **more: Any) -> None:
        """A line, of a trial unless it is of the process."""
        line = json.dumps({"what": what, "trial": trial, **more})
        os.write(self._file, f"{line}\n".encode())


def study_at(url: str, judged: str, *, new: bool = False) -> Study:
    """The study, as each process opens it."""
    settings: dict[str, Any] = {
        "storage": opened(url),
        "sampler": RandomSampler(),
        "pruner": PRUNERS[judged],
        "study_name": STUDY,
    }
    if new:
        return optuna.create_study(direction="maximize", **settings)
    return optuna.load_study(**settings)


def objective(trial: Trial, judged: str, notes: Notes) -> float:
    """Good where the network is shallow; a deep one loses its input as well."""
    depth = trial.suggest_int("depth", 1, 12)
    rate = trial.suggest_float("rate", 1e-3, 10, log=True)
    if judged != "plain":
        model, samples, labels = network(depth, trial.number)
        training = None
        if judged == "keep=1/4":
            optimizer = torch.optim.SGD(model.parameters(), rate)
            training = rp.Training(nn.functional.cross_entropy, optimizer, steps=1)
        notes.note("probes", trial.number)
        batches = samples if training is None else (samples, labels)
        verdict = probe_trial(trial, model, batches, training=training)
        pruned = trial.should_prune()
        notes.note("judged", trial.number, trainable=verdict.trainable, pruned=pruned)
        if pruned:
            raise optuna.TrialPruned(verdict.reason)
    notes.note("trains", trial.number)
    return 1 - depth / 12


def network(depth: int, seed: int) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """A narrow tanh network, samples and labels; a deep one loses what it is given."""
    draw = torch.Generator().manual_seed(seed)
    samples = torch.rand(32, 16, generator=draw)
    labels = torch.randint(0, 4, (32,), generator=draw)
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(16, 16), nn.Tanh()]
        nn.init.normal_(layers[-2].weight, std=0.15, generator=draw)  # type: ignore[arg-type]
    return nn.Sequential(*layers, nn.Linear(16, 4)), samples, labels


def finished(study: Study) -> int:
    """How many trials have ended."""
    return sum(trial.state.is_finished() for trial in study.get_trials(deepcopy=False))


def work(url: str, judged: str, trials: int, folder: Path) -> None:
    """Run trials until there are so many; what ends the process is noted."""
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    notes = Notes(folder)

    def told(_: Study, trial: FrozenTrial) -> None:
        notes.note("ended", trial.number, state=trial.state.name)

    try:
        study = study_at(url, judged)
        while finished(study) < trials:
            study.optimize(
                lambda trial: objective(trial, judged, notes), n_trials=1, callbacks=[told]
            )
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)
        ours = any("recent_prune/" in frame.filename for frame in last)
        notes.note("error", kind=type(error).__name__, told=str(error)[:300], in_probe_trial=ours)
        os._exit(1)
