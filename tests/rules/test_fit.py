"""A preflight's verdict, and what becomes of it after the probe."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

import recent_prune as rp
from recent_prune.rules import Cause, Verdict
from recent_prune.rules.fit import Fit

DATA = [(torch.randn(32, 8), torch.randint(0, 2, (32,)))] * 8
KEPT = Verdict(True, -0.5, "It trains.")


def network() -> nn.Module:
    return rp.networks.mlp(8, 2, depth=2, width=64)


def training(model: nn.Module) -> rp.Training:
    optimizer = torch.optim.Adam(model.parameters())
    return rp.Training(nn.functional.cross_entropy, optimizer, budget=1000)


def test_advice_on_the_place_stays_with_a_kept_trial() -> None:
    model = network()
    limits = rp.Limits(memory={"large": 1e9, "small": 1024})
    known = Fit.of(rp.preflight(model, DATA, training(model)), limits, limits.room("cpu"))
    assert known.verdict.trainable
    probed = rp.probe(model, DATA, training=training(model))
    verdict = known.verdict_after(probed, KEPT)
    assert verdict == replace(KEPT, advice="Place it on large: it is too large for small (1 KiB).")
    own = replace(KEPT, advice="A smaller rate.")
    assert known.verdict_after(probed, own) == own
    condemned = Verdict(False, 0.5, "It does not.", Cause.LOST)
    assert known.verdict_after(probed, condemned) == condemned


def test_one_that_is_too_slow_is_known_after_its_steps() -> None:
    model = network()
    limits = rp.Limits(memory=None, seconds=1e-6)
    known = Fit.of(rp.preflight(model, DATA, training(model)), limits, limits.room("cpu"))
    assert known.verdict.trainable
    assert known.verdict_after(rp.probe(model, DATA), KEPT) == KEPT  # without steps
    probed = rp.probe(model, DATA, training=training(model))
    assert known.verdict_after(probed, KEPT).cause == Cause.TOO_SLOW
