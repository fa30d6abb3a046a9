from __future__ import annotations

import optuna
import pytest

from recent_prune.optuna import MetricsCallback, attributes, probe_metrics
from tests.optuna.studies import condemned, objective


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


def test_a_trial_that_was_not_probed_has_none() -> None:
    assert probe_metrics(optuna.create_study().ask()) == {}


def test_the_logger_is_a_function() -> None:
    with pytest.raises(TypeError, match="`log` must be a function of metrics and a step, but got"):
        MetricsCallback({})  # type: ignore[arg-type]
