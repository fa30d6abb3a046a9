from __future__ import annotations

import optuna
import pytest
import torch
from torch.nn.functional import cross_entropy

from recent_prune.optuna import (
    MetricsCallback,
    ReconstructionEntropyPruner,
    attributes,
    probe_metrics,
    probe_trial,
)
from recent_prune.probe import ProbeResult, Training
from recent_prune.rules import Cause, Verdict
from tests.networks import mlp
from tests.optuna.studies import DIGITS, condemned, failing, objective


def test_every_probed_trial_is_logged_once() -> None:
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.RandomSampler(seed=0),
        pruner=optuna.pruners.NopPruner(),
    )
    logged: dict[int, dict[str, float]] = {}

    def log(metrics: dict[str, float], step: int) -> None:
        assert step not in logged
        logged[step] = metrics

    study.enqueue_trial({"depth": 2, "weight_variance": 1.5})
    study.optimize(objective, n_trials=1, callbacks=[MetricsCallback(log)])
    study.optimize(lambda _: 0.1, n_trials=1, callbacks=[MetricsCallback(log)])
    assert list(logged) == [0]
    trial = study.trials[0]
    assert condemned(study) == []
    assert logged[0]["recent_prune/trainable"] == 1.0
    assert logged[0]["recent_prune/retained"] == trial.user_attrs[attributes.RETAINED]
    assert set(logged[0]) == {
        f"recent_prune/{name}"
        for name in (
            "trainable",
            "violation",
            "retained",
            "relative_entropy",
            "cutoff",
            "depth",
            "seconds",
        )
    }


def condemn(result: ProbeResult) -> Verdict:
    return Verdict(False, 1.0, "It rises.", Cause.DIVERGES, "Lower the rate.")


def diverging(trial: optuna.Trial) -> float:
    training = Training(cross_entropy, lambda p: torch.optim.SGD(p, 10.0))
    probe_trial(trial, mlp(), (DIGITS.train, DIGITS.train_labels), training=training)
    raise optuna.TrialPruned


def test_losses_are_numbers_and_causes_texts() -> None:
    study = optuna.create_study(pruner=ReconstructionEntropyPruner(condemn))
    numbers: dict[int, dict[str, float]] = {}
    texts: dict[int, dict[str, str]] = {}
    callback = MetricsCallback(
        lambda metrics, step: numbers.update({step: metrics}),
        lambda said, step: texts.update({step: said}),
    )
    study.optimize(diverging, n_trials=1, callbacks=[callback])
    study.optimize(lambda _: 0.1, n_trials=1, callbacks=[callback])
    assert texts == {
        0: {
            "recent_prune/cause": "diverges",
            "recent_prune/reason": "It rises.",
            "recent_prune/advice": "Lower the rate.",
        }
    }
    assert list(numbers) == [0]
    stored = study.trials[0].user_attrs
    assert numbers[0]["recent_prune/loss_after"] == stored[attributes.LOSS_AFTER]
    assert numbers[0]["recent_prune/constant_loss"] == stored[attributes.CONSTANT_LOSS]
    assert numbers[0]["recent_prune/trainable"] == 0
    assert not set(numbers[0]) & set(texts[0])


def test_a_failed_probe_says_so() -> None:
    study = optuna.create_study()
    texts: list[dict[str, str]] = []
    callback = MetricsCallback(lambda *_: None, lambda said, _: texts.append(said))
    study.optimize(failing, n_trials=1, callbacks=[callback])
    (said,) = texts
    assert set(said) == {"recent_prune/reason", "recent_prune/fault"}
    assert said["recent_prune/fault"].startswith("RuntimeError: mat1 and mat2 shapes")
    assert set(probe_metrics(study.trials[0])) == {
        f"recent_prune/{name}" for name in ("trainable", "violation", "seconds")
    }


def test_a_trial_that_was_not_probed_has_none() -> None:
    assert probe_metrics(optuna.create_study().ask()) == {}


def test_the_logger_is_a_function() -> None:
    with pytest.raises(TypeError, match="`log` must be a function of metrics and a step, but got"):
        MetricsCallback({})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="`log_texts` must be a function of texts and a step, but"):
        MetricsCallback(print, "tags")  # type: ignore[arg-type]
