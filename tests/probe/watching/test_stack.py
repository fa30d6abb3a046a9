from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from recent_prune.probe.watching.observation import observe
from recent_prune.probe.watching.stack import architecture, observe_stacked, state_bytes
from tests.networks import Noisy, cnn, mlp


class Scaled(nn.Module):
    def __init__(self, factor: object = 1.0) -> None:
        super().__init__()
        self.factor = factor
        self.body, self.head = nn.Linear(64, 16), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.factor * self.body(x.flatten(1))))  # type: ignore[no-any-return]


class Tied(nn.Module):
    def __init__(self, tied: bool) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(64, 64), nn.Linear(64, 64)
        if tied:
            self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(x.flatten(1))))  # type: ignore[no-any-return]


def hooked() -> nn.Module:
    model = mlp()
    model.register_forward_hook(lambda *_: None)
    return model


@pytest.mark.parametrize(
    "build",
    [
        mlp,
        cnn,
        Noisy,
        Scaled,
        lambda: Tied(True),
        lambda: Scaled(torch.tanh),
        lambda: Scaled([2.0]),
    ],
)
def test_models_that_differ_in_values_alone_are_of_one_architecture(
    build: Callable[[], nn.Module],
) -> None:
    assert architecture(build()) == architecture(build())
    assert hash(architecture(build())) == hash(architecture(build()))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (mlp(), mlp(depth=4)),
        (mlp(), mlp(width=17)),
        (mlp(), mlp(activation="relu")),
        (mlp(), mlp().double()),
        (nn.LeakyReLU(0.1), nn.LeakyReLU(0.2)),
        (Scaled(1.0), Scaled(2.0)),
        (Scaled(1), Scaled(1.0)),
        (Scaled(torch.tanh), Scaled(torch.relu)),
        (Scaled({"a": 1}), Scaled({"a": 2})),
        (Scaled(object()), Scaled(object())),
        (Scaled(torch.ones(2)), Scaled(torch.ones(2))),
        (Tied(True), Tied(False)),
        (hooked(), hooked()),
    ],
    ids=lambda _: "",
)
def test_models_that_differ_otherwise_are_not(one: nn.Module, other: nn.Module) -> None:
    assert architecture(one) != architecture(other)


@pytest.mark.parametrize("tied", [True, False])
def test_a_stack_sees_what_each_model_would_see(digits: Tensor, tied: bool) -> None:
    models = [Tied(tied) for _ in range(3)]
    batch = digits[:50]
    for seen, model in zip(observe_stacked(models, batch, None, 0), models, strict=True):
        with torch.no_grad():
            alone = observe(model, batch, 0, None)
        assert seen.names == alone.names
        for one, other in zip(seen.grams, alone.grams, strict=True):
            for a, b in zip(one, other, strict=True):
                torch.testing.assert_close(a, b, equal_nan=True)


def test_memory_of_a_model() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    assert state_bytes(model) == 4 * (12 + 4 + 4 + 4 + 4 + 4) + 8
