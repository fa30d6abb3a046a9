"""Does a training fit, asked by the callback."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from torch import nn

import recent_prune as rp
from recent_prune.lightning import ReconstructionEntropyCallback
from recent_prune.optuna import ReconstructionEntropyPruner, attributes
from recent_prune.rules import Cause
from tests.lightning.modules import QUIET, Classifier, fit, judge, loader, new_trainer

pytestmark = [pytest.mark.filterwarnings(warning) for warning in QUIET]
SMALL = rp.Limits(memory=1e5)
"""Less than the parameters of the networks below take."""


def network() -> nn.Module:
    return rp.networks.mlp(64, 10, depth=3, width=128, seed=3)


@pytest.fixture
def not_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    def probe(*_: Any, **__: Any) -> None:
        raise AssertionError("What does not fit is not probed.")

    monkeypatch.setattr("recent_prune.lightning.callback.ready", probe)


def test_what_does_not_fit_is_stopped(not_probed: None) -> None:
    callback = ReconstructionEntropyCallback(preflight=SMALL)
    assert fit(callback, network()).steps == []
    assert callback.verdict is not None
    assert callback.verdict.cause == Cause.TOO_LARGE
    assert callback.result is None


def test_with_a_trial_it_is_stored_and_pruned(not_probed: None) -> None:
    study = optuna.create_study(pruner=ReconstructionEntropyPruner(rule=judge))
    trial = study.ask()
    with pytest.raises(optuna.TrialPruned, match="A training step takes about"):
        fit(ReconstructionEntropyCallback(trial, preflight=SMALL), network())
    known = study.trials[0].user_attrs
    assert known[attributes.CAUSE] == "too_large"
    assert known[attributes.PREFLIGHT]["batch"] == 64
    assert known[attributes.PREFLIGHT]["method"] == "traced"


def test_what_fits_trains_as_without() -> None:
    callback = ReconstructionEntropyCallback(rule=judge, preflight=rp.Limits())
    kept, plain = fit(callback, network()), fit(None, network())
    assert callback.verdict is not None
    assert callback.verdict.reason.startswith("retained")
    pairs = zip(kept.parameters(), plain.parameters(), strict=True)
    assert all(bool((a == b).all()) for a, b in pairs)


@pytest.mark.parametrize("stored", [False, True])
def test_what_cannot_end_in_time_is_too_slow(stored: bool) -> None:
    trial = optuna.create_study(pruner=ReconstructionEntropyPruner()).ask() if stored else None
    limits = rp.Limits(memory=None, until=0.0)
    callback = ReconstructionEntropyCallback(trial, rule=judge, preflight=limits)
    if trial is None:
        assert fit(callback, network()).steps == []
    else:
        with pytest.raises(optuna.TrialPruned, match="The full training takes about"):
            fit(callback, network())
        assert trial.user_attrs[attributes.CAUSE] == "too_slow"
        return
    assert callback.verdict is not None
    assert callback.verdict.cause == Cause.TOO_SLOW


def test_what_cannot_be_estimated_goes_on() -> None:
    class ByHand(Classifier):
        automatic_optimization = False

    callback = ReconstructionEntropyCallback(rule=judge, preflight=SMALL)
    with (
        pytest.warns(UserWarning, match="Whether the training fits is not known: the module optim"),
        pytest.warns(UserWarning, match="first steps cannot be made here"),
    ):
        new_trainer(callback).fit(ByHand(network()), loader(), loader())
    assert callback.verdict is not None
    assert callback.verdict.trainable


def test_bad_limits() -> None:
    with pytest.raises(TypeError, match="`preflight` must be Limits or None, but got 5"):
        ReconstructionEntropyCallback(preflight=5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`preflight` is of a training step, so `first_steps`"):
        ReconstructionEntropyCallback(preflight=SMALL, first_steps=False)
