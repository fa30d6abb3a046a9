"""Models that are probed many at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import recent_prune as rp
from tests.networks import Noisy, Residual, cnn, mlp


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, 0.1)


TRAINING = rp.Training(cross_entropy, sgd, steps=2)


class Recurrent(nn.Module):
    """Cannot be stacked."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.GRU(8, 16, 2, batch_first=True), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x.flatten(1, 2))[0][:, -1])  # type: ignore[no-any-return]


class Moody(nn.Module):
    """Its control flow depends on values."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(64, 16), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.body(x.flatten(1))
        hidden = torch.tanh(hidden) if hidden.sum() > 0 else torch.relu(hidden)
        return self.head(hidden)  # type: ignore[no-any-return]


class Broken(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(63, 16)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x.flatten(1))  # type: ignore[no-any-return]


BUILDERS: dict[str, Callable[[int], nn.Module]] = {
    "mlp": lambda i: mlp(depth=6, width=32, weight_variance=0.5 + i, seed=i),
    "cnn": lambda _: cnn(),
    "batch norm": lambda _: cnn(batch_norm=True),
    "dropout, in place": lambda _: Noisy(),
    "skip": lambda _: Residual(),
    "recurrent": lambda _: Recurrent(),
    "control flow": lambda _: Moody(),
}


def assert_close(one: Any, other: rp.ProbeResult) -> None:
    """The documented tolerance."""
    assert isinstance(one, rp.ProbeResult), one
    assert one.layers == other.layers
    assert one.retained == pytest.approx(other.retained, abs=1e-3)
    for name in ("relative_entropy", "differential_entropy", "gram_entropy", "activation_rms"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-3, abs=1e-3), name
    assert (one.samples, one.normalized, one.input_rms) == (
        other.samples,
        other.normalized,
        other.input_rms,
    )
    assert one.redundancy == pytest.approx(other.redundancy)
