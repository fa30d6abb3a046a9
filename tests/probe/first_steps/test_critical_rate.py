from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import recent_prune as rp
from recent_prune.probe.first_steps import critical_rate as module
from recent_prune.probe.first_steps.critical_rate import PASSES, crossing
from recent_prune.probe.first_steps.result import FirstSteps
from tests.networks import Noisy, mlp
from tests.probe.first_steps.trials import batches, model_state, random_states, snapshot

DATA = batches()
NUMBERS = [(x, x) for x in torch.rand(200, 2).split(20)]


class Quadratic(nn.Module):
    """Its loss is λ/2 x² whatever it is given."""

    def __init__(self, start: float = 1.7) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.tensor([[start, 0.3]]))
        self.calls = 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls += 1
        return self.x.expand(len(inputs), 2)


def quadratic(curvature: float) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda output, _: curvature / 2 * output.square().sum(1).mean()


def steps(model: nn.Module, data: Any, training: rp.Training) -> FirstSteps:
    found = rp.probe(model, data, training=training).steps
    assert found is not None
    return found


@pytest.mark.parametrize("curvature", [0.01, 8.0, 1e4])
@pytest.mark.parametrize("relative", [1e-6, 0.004, 2.1, 9.0, 1e6])
def test_of_a_quadratic_it_is_two_over_the_curvature(curvature: float, relative: float) -> None:
    rate = relative * 2 / curvature
    training = rp.Training(quadratic(curvature), lambda p: torch.optim.SGD(p, rate), steps=1)
    found = steps(Quadratic(), NUMBERS, training)
    assert found.critical_rate == pytest.approx(2 / curvature, rel=0.05)
    assert found.learning_rate == pytest.approx(rate)


def test_it_takes_six_forward_passes_of_the_first_batch_at_most() -> None:
    model = mlp(depth=3)
    passes: list[int] = []
    model.register_forward_pre_hook(lambda _, args: passes.append(len(args[0])))

    def at(rate: float) -> tuple[Any, int]:
        passes.clear()
        training = rp.Training(cross_entropy, lambda p: torch.optim.SGD(p, rate))
        return steps(model, DATA, training), len(passes)

    helped, usual = at(0.3)
    assert helped.critical_rate is None
    for rate in (1e-5, 30.0, 1e4):
        found, all_passes = at(rate)
        assert found.critical_rate is not None
        assert usual < all_passes <= usual + 6


def test_nobody_asks_where_the_steps_helped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "critical_rate", lambda *_: pytest.fail("asked"))
    training = rp.Training(cross_entropy, lambda p: torch.optim.SGD(p, 0.3))
    assert steps(mlp(), DATA, training).critical_rate is None


def test_nobody_asks_where_processes_would_wait_for_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    training = rp.Training(quadratic(1.0), lambda p: torch.optim.SGD(p, 9.0), steps=1)
    assert steps(Quadratic(), NUMBERS, training).critical_rate is None


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam, torch.optim.RMSprop])
def test_it_is_where_the_first_update_no_longer_helps(optimizer: Any) -> None:
    """A slow twin: the first step by hand, at many rates."""
    images, labels = DATA[0]

    def change(rate: float) -> float:
        model = mlp(depth=3)
        own = optimizer(model.parameters(), rate)
        loss = cross_entropy(model(images), labels)
        loss.backward()
        own.step()
        return float((cross_entropy(model(images), labels) - loss).detach())

    training = rp.Training(cross_entropy, lambda p: optimizer(p, 1e3))
    found = steps(mlp(depth=3), DATA, training).critical_rate
    assert found is not None
    assert change(found / 1.5) < 0 < change(found * 1.5)


def test_groups_keep_their_proportion_and_dropout_is_the_same_each_time() -> None:
    def grouped(factor: float) -> rp.Training:
        return rp.Training(
            cross_entropy,
            lambda p: torch.optim.SGD(
                [
                    {"params": model.body[1].parameters(), "lr": factor / 10},
                    {"params": model.body[7].parameters(), "lr": factor},
                ]
            ),
            accumulate=2,
            clip_norm=0.1,
        )

    model = Noisy()
    one, other = (steps(model, DATA, grouped(f)).critical_rate for f in (1e3, 1e5))
    assert one is not None
    assert other == pytest.approx(one, rel=0.05)


def test_everything_comes_back() -> None:
    model = Noisy()
    optimizer = torch.optim.Adam(model.parameters(), 100.0)
    before = model_state(model), snapshot(vars(optimizer)), random_states()
    found = steps(model, DATA, rp.Training(cross_entropy, optimizer))
    assert found.critical_rate is not None
    assert found.critical_rate < 1
    assert (model_state(model), snapshot(vars(optimizer)), random_states()) == before


def test_a_gradient_that_promises_nothing_has_none() -> None:
    flat = rp.Training(lambda output, _: 0 * output.sum() + 1, lambda p: torch.optim.SGD(p, 1.0))
    assert steps(mlp(), DATA, flat).critical_rate is None
    up = rp.Training(cross_entropy, lambda p: torch.optim.SGD(p, 0.1, maximize=True))
    assert steps(mlp(), DATA, up).critical_rate is None
    broken = mlp()
    torch.nn.init.constant_(next(broken.parameters()), math.nan)
    assert steps(broken, DATA, rp.Training(cross_entropy, torch_sgd)).critical_rate is None


def torch_sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, 0.1)


def test_line_searches_have_none() -> None:
    training = rp.Training(cross_entropy, lambda p: torch.optim.LBFGS(p, lr=1e-9, max_iter=2))
    assert steps(mlp(), DATA, training).critical_rate is None


def test_what_raises_on_the_way_costs_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(module, "critical_rate", failing)
    training = rp.Training(cross_entropy, lambda p: torch.optim.SGD(p, 1e4))
    found = steps(mlp(), DATA, training)
    assert found.critical_rate is None
    assert found.loss_after > found.loss_before


@given(st.floats(1e-6, 1e6), st.floats(1e-3, 90.0))
def test_the_crossing_of_a_parabola(promised: float, scale: float) -> None:
    asked: list[float] = []

    def change(s: float) -> float:
        asked.append(s)
        return promised * s * (s / scale - 1)

    assert crossing(change, promised) == pytest.approx(scale, rel=0.03)
    assert len(asked) <= 4


@pytest.mark.parametrize("found", [math.inf, math.nan, 1e30, -1.0, 0.0])
def test_few_questions_are_asked_whatever_the_answer(found: float) -> None:
    asked: list[float] = []

    def change(s: float) -> float:
        asked.append(s)
        return found

    assert crossing(change, 1.0) is None or found == 0.0
    assert len(asked) <= PASSES
    assert all(math.isfinite(s) and s > 0 for s in asked)


@given(st.floats(0.01, 3.0), st.floats(1.2, 3.0))
def test_the_crossing_of_what_is_no_parabola(scale: float, power: float) -> None:
    """Such as a loss that grows only linearly, or faster than a square; infinite far away."""

    def change(s: float) -> float:
        return s * ((s / scale) ** (power - 1) - 1) if s < 20 * scale else math.inf

    found = crossing(change, 1.0)
    assert found is not None
    assert found == pytest.approx(scale, rel=0.3)


@pytest.mark.parametrize("promised", [0.0, -1.0, math.nan, math.inf])
def test_without_a_promise_nothing_is_asked(promised: float) -> None:
    assert crossing(lambda _: pytest.fail("asked"), promised) is None
