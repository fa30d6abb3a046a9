"""Models and optimizers that users bring are no obstacle, nor are numbers that are not finite."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import (
    cross_entropy,
    mse_loss,
)

import recent_prune as rp
from tests.networks import Noisy, mlp
from tests.probe.first_steps.trials import model_state
from tests.probe.first_steps.untouched import DATA, adam, learns, sgd, steps_of, untouched


@pytest.mark.parametrize("optimizer", [sgd, adam])
def test_frozen_parameters_stay_and_do_not_count(optimizer: Any) -> None:
    model = Noisy()
    model.body[1].requires_grad_(False)
    result = untouched(model, DATA, optimizer=optimizer)
    steps, gradients = result.steps, result.gradients
    assert steps is not None
    assert gradients is not None
    assert learns(steps)
    assert steps.unreached == pytest.approx(0.0, abs=1e-6)
    assert gradients.layers == ("body.5", "body.7")
    assert len(steps.update_ratios) == 2


def test_parameters_that_a_model_replaces_as_it_runs_are_those_of_the_optimizer() -> None:
    class Replacing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = mlp()
            self.scale = nn.Parameter(torch.ones(10))

        def forward(self, x: Tensor) -> Tensor:
            self.scale = nn.Parameter(self.scale.detach() + 0.01)
            return self.body(x) * self.scale  # type: ignore[no-any-return]

    assert learns(steps_of(Replacing(), DATA))


class Tied(nn.Module):
    """One matrix twice, and one module twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 64)
        self.second = nn.Linear(64, 64)
        self.second.weight = self.first.weight
        self.head = nn.Linear(64, 10)
        self.again = self.head

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.first(torch.tanh(self.second(x.flatten(1)))))
        return self.again(hidden)  # type: ignore[no-any-return]


def test_shared_parameters_count_once() -> None:
    model = Tied()
    steps = steps_of(model, DATA)
    assert learns(steps)
    assert model.second.weight is model.first.weight
    total = sum(float(p.detach().square().sum()) for p in model.parameters())
    assert steps.weight_norm == pytest.approx(math.sqrt(total), rel=1e-5)


def test_parameters_that_no_gradient_reaches_are_counted() -> None:
    model = mlp()
    model.register_parameter("unused", nn.Parameter(torch.ones(1000)))
    count = sum(p.numel() for p in model.parameters())
    assert steps_of(model, DATA).unreached == pytest.approx(1000 / count, rel=1e-5)


def test_sparse_gradients() -> None:
    tokens = torch.randint(0, 50, (400, 6))
    data = list(zip(tokens.split(40), (tokens[:, 0] % 10).split(40), strict=True))
    found = {}
    for sparse in (True, False):
        torch.manual_seed(1)
        model = nn.Sequential(nn.EmbeddingBag(50, 8, sparse=sparse), nn.Linear(8, 10))
        found[sparse] = steps_of(model, data, optimizer=sgd)
    for name in ("losses", "gradient_norms", "first_update", "update", "first_order", "unreached"):
        assert getattr(found[True], name) == pytest.approx(getattr(found[False], name), rel=1e-4)


def test_lbfgs() -> None:
    steps = steps_of(mlp(), DATA, optimizer=lambda p: torch.optim.LBFGS(p, 0.1, max_iter=4))
    assert learns(steps)
    assert len(steps.losses) == len(steps.gradient_norms) == 6


def test_mixed_precision() -> None:
    model, types = mlp(), set()
    model.head.register_forward_hook(  # type: ignore[union-attr]
        lambda module, args, output: types.add(output.dtype) if module.training else None
    )
    mixed = steps_of(model, DATA, autocast=torch.bfloat16)
    assert types == {torch.bfloat16}
    plain = steps_of(model, DATA)
    assert mixed.losses == pytest.approx(plain.losses, rel=0.05)
    assert mixed.losses != plain.losses


def test_an_autocast_of_the_caller_is_that_of_the_loop() -> None:
    model = mlp()
    expected = steps_of(model, DATA, autocast=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        assert steps_of(model, DATA).losses == expected.losses
    with torch.inference_mode():
        assert rp.probe(model, DATA, training=rp.Training(cross_entropy, adam)).steps is not None


def test_half_precision_parameters() -> None:
    model = mlp().to(torch.bfloat16)
    data = [(images.to(torch.bfloat16), labels) for images, labels in DATA]
    assert learns(steps_of(model, data))


def test_a_compiled_model_is_unwrapped() -> None:
    model = mlp()
    compiled: Any = torch.compile(model, backend="eager")
    training = rp.Training(cross_entropy, torch.optim.Adam(compiled.parameters(), 1e-2))
    before = model_state(model)
    found = rp.probe(compiled, DATA, training=training)
    assert model_state(model) == before
    assert found == rp.probe(model, DATA, training=rp.Training(cross_entropy, adam))


def test_a_model_that_is_random_in_evaluation_mode_says_so() -> None:
    class Variational(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.head = nn.Linear(64, 32), nn.Linear(32, 10)

        def forward(self, x: Tensor) -> Tensor:
            hidden = torch.tanh(self.first(x.flatten(1)))
            return self.head(hidden + 0.1 * torch.randn_like(hidden))  # type: ignore[no-any-return]

    result = untouched(Variational(), DATA)
    assert result.stochastic
    assert result.steps is not None
    assert result.steps.repeatable  # with equal random numbers


def test_a_model_that_counts_its_calls_is_not_repeatable() -> None:
    class Counting(nn.Module):
        calls = 0

        def __init__(self) -> None:
            super().__init__()
            self.body = mlp()

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return self.body(x) / self.calls  # type: ignore[no-any-return]

    assert not steps_of(Counting(), DATA).repeatable
    assert steps_of(mlp(), DATA).repeatable


def test_a_large_rate_shows_where_it_stops_being_finite() -> None:
    steps = steps_of(
        rp.networks.mlp(64, 10, depth=3, width=16, activation="relu"),
        DATA,
        mse_of_classes,
        lambda p: torch.optim.SGD(p, 1e30),
    )
    assert steps.nonfinite_step is not None
    assert steps.nonfinite_step >= 2
    assert math.isfinite(steps.losses[0])


def mse_of_classes(output: Tensor, target: Tensor) -> Tensor:
    return mse_loss(output, nn.functional.one_hot(target, 10).to(output.dtype))


def test_nan_from_the_second_step_on() -> None:
    class Poisoned(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            found = super().step(closure)
            self.param_groups[0]["params"][0].data.fill_(math.nan)
            return found

    steps = steps_of(mlp(), DATA, optimizer=lambda p: Poisoned(p, 0.1))
    assert steps.nonfinite_step == 2
    assert math.isfinite(steps.losses[0])
    assert math.isnan(steps.losses[1])
    assert math.isnan(steps.accuracy_after)


def test_nan_after_the_last_step_alone() -> None:
    class Late(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            found = super().step(closure)
            self.param_groups[0]["params"][0].data.fill_(math.inf)
            return found

    steps = steps_of(mlp(), DATA, optimizer=lambda p: Late(p, 0.1), steps=1)
    assert steps.nonfinite_step == 1
    assert math.isfinite(steps.losses[0])


def test_weights_of_nan() -> None:
    model = mlp()
    model.head.weight.data.fill_(math.nan)  # type: ignore[union-attr, operator]
    assert steps_of(model, DATA).nonfinite_step == 1
