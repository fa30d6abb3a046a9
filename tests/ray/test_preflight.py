"""A trial that cannot fit, or cannot end in time, is not started."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

import recent_prune as rp
from recent_prune.data import load_digits
from recent_prune.ray import ReconstructionEntropyScheduler
from recent_prune.ray.judging.outcome import Candidate, Outcome
from recent_prune.ray.probing import ProbeSettings, probe_batch
from recent_prune.rules import SUMMARY

DIGITS = load_digits()
BATCHES = [(DIGITS.train[i : i + 64], DIGITS.train_labels[i : i + 64]) for i in range(0, 640, 64)]


def build(config: dict[str, Any]) -> nn.Module:
    return rp.networks.mlp(64, 10, depth=2, width=config["width"])


def training(model: nn.Module, config: dict[str, Any]) -> rp.Training:
    adam = torch.optim.Adam(model.parameters(), 1e-3)
    return rp.Training(nn.functional.cross_entropy, adam, budget=config.get("budget", 100))


SETTINGS = ProbeSettings(
    build,
    BATCHES,
    rp.TrainabilityRule(),
    "ridge",
    None,
    0.005,
    training,
    limits=rp.Limits(memory=8 * 2**20),
)


def outcome(config: dict[str, Any], **changes: Any) -> Outcome:
    settings = dataclasses.replace(SETTINGS, **changes)
    (found,) = probe_batch(settings, BATCHES, [Candidate("t", config)])
    return found


def test_one_that_is_too_large_is_not_even_probed() -> None:
    found = outcome({"width": 2048})
    assert not found.passes
    assert found.summary["cause"] == "too_large"
    assert "8 MiB" in str(found.summary["reason"])
    assert set(found.summary) == set(SUMMARY)
    assert found.summary["depth"] is None


def test_one_that_fits_is_judged_by_its_probe() -> None:
    found = outcome({"width": 16})
    assert found.passes
    assert found.summary["depth"] is not None
    assert outcome({"width": 16}, limits=None).summary["reason"] == found.summary["reason"]


def test_one_that_is_too_slow_keeps_its_numbers() -> None:
    limits = rp.Limits(memory=None, seconds=1.0)
    found = outcome({"width": 16, "budget": 10**9}, limits=limits)
    assert not found.passes
    assert found.summary["cause"] == "too_slow"
    assert found.summary["loss_after"] is not None


class Strange(nn.Module):
    """Cannot be estimated: what it computes depends on values, and it wants whole batches."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if images.sum().item() < 0 or len(images) < 32:
            raise RuntimeError("not such a batch")
        return self.layer(images)  # type: ignore[no-any-return]


def test_where_nothing_can_be_estimated_nobody_is_condemned(
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = outcome({}, build_model=lambda _: Strange())
    assert found.passes or found.fault is not None
    assert "whether a trial fits is not known" in caplog.text


def test_bad_limits() -> None:
    with pytest.raises(TypeError, match="`preflight` must be Limits or None, but got 100"):
        ReconstructionEntropyScheduler(build, BATCHES, training=training, preflight=100)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="`preflight` is of a training step: give `training`"):
        ReconstructionEntropyScheduler(build, BATCHES, preflight=rp.Limits())
