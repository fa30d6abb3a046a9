from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

import recent_prune.networks
from recent_prune.probe.quantities.gram import LayerGram, Seen, layer_grams
from recent_prune.probe.watching import observation
from recent_prune.probe.watching.observation import KEPT, Observation, observe

BATCH = torch.rand(59, 1, 8, 8)
"""40 samples, 3 that are only shown and 16 perturbed ones."""


class InPlace(nn.Module):
    """Adds to what has arrived at a layer already."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 32)
        self.blocks = nn.ModuleList(nn.Linear(32, 32) for _ in range(4))
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x.flatten(1))
        for block in self.blocks:
            x += torch.tanh(block(x))
        return self.head(x)  # type: ignore[no-any-return]


def mixed() -> nn.Module:
    return recent_prune.networks.mlp(64, 10, depth=7, width=[70, 20, 70, 20, 50, 50, 5])


def observed(model: nn.Module, kept: int, monkeypatch: pytest.MonkeyPatch) -> Observation:
    monkeypatch.setitem(KEPT, "cpu", kept)
    with torch.no_grad():
        return observe(model, BATCH, 3, None, perturbed=16)


@pytest.mark.parametrize("build", [mixed, InPlace])
@pytest.mark.parametrize("kept", [10_000, 2**30])
def test_layers_reduced_together_are_those_reduced_one_by_one(
    build: type[nn.Module], kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build()
    alone, together = (observed(model, most, monkeypatch) for most in (0, kept))
    assert together.names == alone.names
    assert together.largest == alone.largest
    for gram, expected in zip(together.grams, alone.grams, strict=True):
        for found, wanted in zip(gram, expected, strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


def groups(model: nn.Module, kept: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many layers were reduced together, each time."""
    found: list[int] = []

    def counted(layers: Sequence[Seen], shown: int, perturbed: int) -> list[LayerGram]:
        found.append(len(layers))
        return layer_grams(layers, shown, perturbed)

    monkeypatch.setattr(observation, "layer_grams", counted)
    observed(model, kept, monkeypatch)
    return found


def test_no_more_wait_than_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    model = recent_prune.networks.mlp(64, 10, depth=10, width=32)
    layer = 59 * 32 * 4
    assert groups(model, 0, monkeypatch) == [1] * 10
    assert groups(model, 4 * layer, monkeypatch) == [4, 4, 2]
    assert groups(model, 2**30, monkeypatch) == [10]
