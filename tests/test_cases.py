"""Trials after public reports, and what becomes of them (trained: see the comments)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import recent_prune as rp
from recent_prune.data import load_digits

DIGITS = load_digits()
X, Y = DIGITS.train, DIGITS.train_labels
rule = rp.TrainabilityRule()


def zeros(bias: bool, activation: type[nn.Module] = nn.Sigmoid) -> nn.Module:
    """Weights of zero; biases of zero, or PyTorch's."""
    layers = [nn.Linear(64, 64), activation(), nn.Linear(64, 64), activation(), nn.Linear(64, 10)]
    model = nn.Sequential(nn.Flatten(), *layers)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.weight)
            if not bias:
                nn.init.zeros_(module.bias)
    return model


def softmax_regression() -> nn.Module:
    model = nn.Linear(64, 10)
    nn.init.zeros_(model.weight)
    return nn.Sequential(nn.Flatten(), model)


class Adapted(nn.Module):
    """A frozen layer and a trainable product B A."""

    def __init__(self, inputs: int, outputs: int, *, both: bool) -> None:
        super().__init__()
        self.base = nn.Linear(inputs, outputs).requires_grad_(False)
        self.a = nn.Parameter(torch.zeros(4, inputs) if both else torch.randn(4, inputs) / 8)
        self.b = nn.Parameter(torch.zeros(outputs, 4))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.base(x) + x @ self.a.T @ self.b.T
        return out


def lora(*, both: bool) -> nn.Module:
    sizes = [(64, 64), (64, 64), (64, 10)]
    first, second, head = (Adapted(i, o, both=both) for i, o in sizes)
    return nn.Sequential(nn.Flatten(), first, nn.ReLU(), second, nn.ReLU(), head)


def adapter(*, both: bool) -> nn.Module:
    """A narrow way before the head, whose last layer (or both) starts at zero."""
    down, up = nn.Linear(64, 16, bias=False), nn.Linear(16, 64, bias=False)
    nn.init.zeros_(up.weight)
    if both:
        nn.init.zeros_(down.weight)
    body = [nn.Linear(64, 64), nn.ReLU(), down, nn.ReLU(), up]
    return nn.Sequential(nn.Flatten(), *body, nn.Linear(64, 10))


def sigmoids(depth: int, width: int) -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten()]
    for i in range(depth):
        layers += [nn.Linear(64 if i == 0 else width, width), nn.Sigmoid()]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def trial(model: nn.Module, rate: float, budget: int, make: Any = torch.optim.Adam) -> rp.Verdict:
    parameters = [p for p in model.parameters() if p.requires_grad]
    training = rp.Training(F.cross_entropy, lambda _: make(parameters, rate), budget=budget)
    return rule(rp.probe(model, (X, Y), training=training))


@pytest.mark.parametrize(
    ("build", "rate", "budget"),
    [
        (lambda: zeros(True), 1e-2, 1500),  # 0.96
        (lambda: zeros(True, nn.ReLU), 1e-2, 1500),  # 0.97
        (softmax_regression, 1e-2, 1500),  # 0.97
        (lambda: lora(both=False), 3e-3, 600),  # 0.92
        (lambda: adapter(both=False), 3e-3, 600),  # 0.955
        (lambda: sigmoids(4, 500), 1e-3, 700),  # 0.86
    ],
)
def test_what_trains_is_kept_with_its_first_steps_and_without(
    build: Callable[[], nn.Module], rate: float, budget: int
) -> None:
    torch.manual_seed(0)
    model = build()
    assert trial(model, rate, budget).trainable
    assert rule(rp.probe(model, X)).trainable


def test_what_no_gradient_reaches_is_dead() -> None:
    torch.manual_seed(0)
    assert trial(lora(both=True), 3e-3, 600).cause == "dead"
    assert trial(adapter(both=True), 3e-3, 600).cause == "dead"


def test_what_is_zero_throughout_is_dead_at_the_start() -> None:
    assert rule(rp.probe(zeros(False), X)).cause == "dead"


def test_four_sigmoids_do_not_train_under_a_slow_sgd() -> None:
    torch.manual_seed(0)
    model = sigmoids(4, 256)
    assert trial(model, 1e-4, 700, torch.optim.SGD).cause in ("stalls", "lost")


class Density(nn.Module):
    """A field that must not be negative."""

    def __init__(self, sign: float, density: Callable[[Tensor], Tensor] = torch.relu) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.head, self.density = nn.Linear(64, 1), density
        nn.init.constant_(self.head.bias, 5 * sign)

    def forward(self, x: Tensor) -> Tensor:
        return self.density(self.head(self.body(x)))


@pytest.mark.parametrize(
    ("model", "trainable"),
    [
        (lambda: Density(-1), False),  # all gradients are zero
        (lambda: Density(1), True),
        (lambda: Density(-1, F.softplus), True),
    ],
)
def test_an_output_that_is_cut_off_everywhere_is_dead(
    model: Callable[[], nn.Module], trainable: bool
) -> None:
    torch.manual_seed(0)
    xy = torch.rand(1024, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    target = 3 * torch.relu(1 - 2 * xy.norm(dim=1, keepdim=True))
    field = model()
    training = rp.Training(F.mse_loss, lambda p: torch.optim.Adam(p, 1e-3), budget=500)
    verdicts = [rule(rp.probe(field, xy)), rule(rp.probe(field, (xy, target), training=training))]
    assert [verdict.trainable for verdict in verdicts] == [trainable, trainable]
    assert all(verdict.cause == (None if trainable else "dead") for verdict in verdicts)
