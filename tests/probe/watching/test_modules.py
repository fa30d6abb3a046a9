from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from recent_prune.probe.watching.modules import starts_at_zero


class Scaled(nn.Module):
    """A residual block whose branch is scaled."""

    def __init__(self, scale: Tensor, name: str = "gamma") -> None:
        super().__init__()
        self.branch = nn.Linear(8, 8)
        self.register_parameter(name, nn.Parameter(scale))
        self._name = name

    def forward(self, x: Tensor) -> Tensor:
        scaled: Tensor = x + getattr(self, self._name) * self.branch(x)
        return scaled


def zero_head() -> nn.Module:
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    nn.init.zeros_(model[2].weight)  # type: ignore[arg-type]
    return model


def all_zero() -> nn.Module:
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    return model


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda: nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 2)), False),
        (zero_head, True),
        (all_zero, False),  # its units are the same, and stay the same
        (lambda: Scaled(torch.full((8,), 1e-5)), True),
        (lambda: Scaled(torch.full((8,), 1e-5).half()), True),
        (lambda: Scaled(torch.full((8,), 1.0)), False),
        (lambda: Scaled(torch.full((8,), 0.1)), False),
        (lambda: Scaled(torch.linspace(1e-5, 1e-4, 8)), False),
        (lambda: Scaled(torch.full((8,), 1e-4), "bias"), False),
    ],
)
def test_what_starts_at_zero(build: Callable[[], nn.Module], expected: bool) -> None:
    torch.manual_seed(0)
    assert starts_at_zero(build()) is expected
