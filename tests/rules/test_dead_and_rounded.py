"""What is certain, and what only seems so: networks that are dead, and such as round."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import recent_prune as rp
from recent_prune.rules import Cause

DRAW = torch.Generator().manual_seed(0)
X, Y = torch.randn(512, 20, generator=DRAW), torch.randint(4, (512,), generator=DRAW)


def deep(scale: float, depth: int = 20) -> nn.Module:
    layers: list[nn.Module] = []
    for number in range(depth):
        linear = nn.Linear(64 if number else 20, 64, bias=False)
        nn.init.normal_(linear.weight, std=scale / linear.in_features**0.5)
        layers += [linear, nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear(64, 4, bias=False))


@pytest.mark.parametrize("rate", [1e-3, 1e4])
def test_what_is_dead_and_does_not_move_is_condemned_with_steps_as_without(rate: float) -> None:
    model = deep(0.01)
    assert rp.TrainabilityRule()(rp.probe(model, X)).cause is Cause.DEAD
    training = rp.Training(cross_entropy, lambda p: torch.optim.Adam(p, rate))
    verdict = rp.TrainabilityRule()(rp.probe(model, (X, Y), training=training))
    assert verdict.cause is Cause.DEAD


def test_what_moves_is_not_dead() -> None:
    training = rp.Training(cross_entropy, lambda p: torch.optim.Adam(p, 1e-3))
    assert rp.TrainabilityRule()(rp.probe(deep(1.2), (X, Y), training=training)).trainable


class Rounding(nn.Module):
    """Codes in the midst, with gradients as if there were none."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 16))
        self.codes = nn.Parameter(0.3 * torch.randn(128, 16))
        self.decoder = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 20))

    def forward(self, x: Tensor) -> Tensor:
        z = self.encoder(x)
        code = self.codes[torch.cdist(z, self.codes).argmin(1)]
        return self.decoder(z + (code - z).detach())  # type: ignore[no-any-return]


def test_that_perturbations_are_rounded_away_says_nothing() -> None:
    reasons = []
    for seed in range(8):
        torch.manual_seed(seed)
        verdict = rp.TrainabilityRule()(rp.probe(Rounding(), X[:256]))
        assert verdict.trainable
        reasons.append(verdict.reason)
    # In some a perturbed sample comes to another code, which is far away.
    assert sum("as where activations are rounded" in reason for reason in reasons) >= 2
