"""What a page says of memory."""

from __future__ import annotations

import optuna
import pytest
import torch
from optuna.study import Study
from torch import nn

import recent_prune as rp
from recent_prune.optuna import ReconstructionEntropyPruner, out_of_memory, probe_trial
from recent_prune.report import StudyReport, plot_memory, trials_table
from tests.optuna.studies import DIGITS

LIMIT = 40 * 2**20
WIDTHS = (16, 2048, 32)
"""That fits, that is too large, and that runs out of memory all the same."""


@out_of_memory
def objective(trial: optuna.Trial) -> float:
    width = trial.suggest_int("width", 16, 4096)
    model = rp.networks.mlp(64, 10, depth=2, width=width)
    training = rp.Training(nn.functional.cross_entropy, torch.optim.Adam(model.parameters(), 1e-3))
    data = (DIGITS.train, DIGITS.train_labels)
    limits = rp.Limits(memory=LIMIT)
    verdict = probe_trial(trial, model, data, training=training, preflight=limits)
    if trial.should_prune():
        raise optuna.TrialPruned(verdict.reason)
    if width == WIDTHS[-1]:
        raise torch.OutOfMemoryError("too little")
    return float(width)


@pytest.fixture(scope="module")
def study() -> Study:
    study = optuna.create_study(pruner=ReconstructionEntropyPruner())
    for width in WIDTHS:
        study.enqueue_trial({"width": width})
    study.optimize(objective, n_trials=len(WIDTHS))
    return study


def test_table(study: Study) -> None:
    table = trials_table(study)
    assert table["memory_limit"].tolist() == [LIMIT] * 3
    assert table["memory"].is_monotonic_increasing is False
    assert table["memory"].iloc[1] > LIMIT > table["memory"].iloc[0] > 0
    assert table["out_of_memory"].tolist() == [False, False, True]


def test_figure(study: Study) -> None:
    names = [trace.name for trace in plot_memory(study).data]
    assert names == ["fits (1)", "too large (1)", "ran out of memory (1)", "there is"]
    large = plot_memory(study).data[1]
    assert list(large.x) == [1]
    assert large.y[0] == pytest.approx(trials_table(study)["memory"].iloc[1] / 2**20)
    assert "trial 1: about" in large.text[0]
    assert "It fits at" in large.text[0]


def test_page(study: Study) -> None:
    report = StudyReport.of(study)
    told = report.summary["value"]
    assert told["of these, too_large"] == "1"
    assert told["ran out of memory all the same"] == "1"
    assert told["stopped later, by another pruner"] == "0"
    assert " MiB to " in told["memory of a training step, estimated"]
    page = report.page()
    assert "Memory of a training step" in page


def test_where_nobody_asked_nothing_is_said() -> None:
    study = optuna.create_study()
    study.optimize(lambda trial: 1.0, n_trials=1)
    report = StudyReport.of(study)
    assert not [name for name in report.summary.index if "memory" in name]
    assert not report.figures
