from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)

import recent_prune as rp
from recent_prune.probe.first_steps.optimizers import needs_closure, prepared
from tests.networks import mlp
from tests.probe.first_steps.trials import batches, snapshot


def warm_up(optimizer: Optimizer) -> LambdaLR:
    """Up to the optimizer's rate in 10 steps, then down."""
    return LambdaLR(optimizer, lambda step: min((step + 1) / 10, 10 / (step + 1)))


def one_cycle(optimizer: Optimizer) -> OneCycleLR:
    return OneCycleLR(optimizer, max_lr=0.7, total_steps=40)


def cosine(optimizer: Optimizer) -> CosineAnnealingLR:
    return CosineAnnealingLR(optimizer, T_max=40)


def in_sequence(optimizer: Optimizer) -> SequentialLR:
    rising = LambdaLR(optimizer, lambda step: 0.1 * (step + 1))
    falling = ExponentialLR(optimizer, 0.9)
    return SequentialLR(optimizer, [rising, falling], milestones=[5])


def plateau(optimizer: Optimizer) -> ReduceLROnPlateau:
    return ReduceLROnPlateau(optimizer)


Schedule = Callable[[Optimizer], Any]


def followed_by_hand(make: Schedule, steps: int) -> float:
    """The largest rate of a loop that runs the schedule with an optimizer of its own."""
    optimizer = SGD([nn.Parameter(torch.zeros(1))], 0.2)
    scheduler = make(optimizer)
    rates: list[float] = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return max(rates)


@pytest.mark.parametrize("as_object", [True, False], ids=["object", "function"])
@pytest.mark.parametrize("make", [warm_up, one_cycle, cosine, in_sequence])
def test_steps_are_made_at_the_largest_rate_of_the_schedule(
    make: Schedule, as_object: bool
) -> None:
    model = mlp()
    optimizer = SGD(model.parameters(), 0.2, momentum=0.9)
    if as_object:
        training = rp.Training(
            cross_entropy, optimizer, scheduler=make(optimizer), budget=40, steps=2
        )
    else:
        training = rp.Training(cross_entropy, optimizer, scheduler=make, budget=40, steps=2)
    expected = followed_by_hand(make, 40)
    scheduler = training.scheduler
    before = snapshot(vars(optimizer)), [group["lr"] for group in optimizer.param_groups]
    own = snapshot(vars(scheduler)) if as_object else None
    found = rp.probe(model, batches(), training=training).steps
    assert found is not None
    assert found.learning_rate == pytest.approx(expected)
    after = snapshot(vars(optimizer)), [group["lr"] for group in optimizer.param_groups]
    assert after == before
    assert not as_object or snapshot(vars(scheduler)) == own


@pytest.mark.parametrize("make", [warm_up, one_cycle, cosine, in_sequence])
def test_a_schedule_goes_on_as_without_the_probe(make: Schedule) -> None:
    def rates(probed: bool) -> list[float]:
        model = mlp()
        optimizer = Adam(model.parameters(), 0.2)
        scheduler, found = make(optimizer), []
        for step in range(20):
            if probed and step in (0, 7):
                training = rp.Training(cross_entropy, optimizer, scheduler=scheduler, steps=2)
                rp.probe(model, batches(), training=training)
            optimizer.step()
            scheduler.step()
            found.append(optimizer.param_groups[0]["lr"])
        return found

    assert rates(probed=True) == rates(probed=False)


def rate_of(training: rp.Training, model: nn.Module) -> list[float]:
    with prepared(model, training) as optimizer:
        return [float(group["lr"]) for group in optimizer.param_groups]


def test_only_the_budget_is_followed() -> None:
    model = mlp()
    optimizer = SGD(model.parameters(), 1.0)

    def rising(optimizer: Optimizer) -> LambdaLR:
        return LambdaLR(optimizer, lambda step: step / 100)

    training = rp.Training(cross_entropy, optimizer, scheduler=rising, budget=50)
    assert rate_of(training, model)[0] == pytest.approx(0.5, abs=0.011)


def test_a_plateau_can_only_lower_the_rate() -> None:
    model = mlp()
    optimizer = SGD(model.parameters(), 0.3)
    scheduler: Any = plateau(optimizer)
    training = rp.Training(cross_entropy, optimizer, scheduler=scheduler)
    assert rate_of(training, model) == [0.3]
    as_function: Any = plateau
    assert rate_of(rp.Training(cross_entropy, optimizer, scheduler=as_function), model) == [0.3]


def test_a_schedule_that_is_attached_is_known_without_being_given() -> None:
    model = mlp()
    optimizer = SGD(model.parameters(), 0.3)
    warm_up(optimizer)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.03)
    assert rate_of(rp.Training(cross_entropy, optimizer), model) == [0.3]
    optimizer = SGD(model.parameters(), 0.3)
    one_cycle(optimizer)
    assert rate_of(rp.Training(cross_entropy, optimizer), model) == [0.7]


def groups(model: nn.Module) -> list[dict[str, Any]]:
    first, *others = model.parameters()
    return [{"params": [first], "lr": 0.1}, {"params": others, "lr": 0.4}]


def test_a_rate_that_is_given_is_that_of_the_largest_group() -> None:
    model = mlp()
    optimizer = SGD(groups(model))
    training = rp.Training(cross_entropy, optimizer, learning_rate=0.8)
    assert rate_of(training, model) == pytest.approx([0.2, 0.8])
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.4]
    found = rp.probe(model, batches(), training=training).steps
    assert found is not None
    assert found.learning_rate == pytest.approx(0.8)


def test_a_rate_that_is_given_goes_before_the_schedule() -> None:
    model = mlp()
    optimizer = SGD(model.parameters(), 0.2)
    training = rp.Training(
        cross_entropy, optimizer, scheduler=one_cycle(optimizer), learning_rate=0.05
    )
    assert rate_of(training, model) == [0.05]


def test_groups_at_rate_zero_get_the_rate_that_is_given() -> None:
    model = mlp()
    training = rp.Training(cross_entropy, SGD(model.parameters(), 0.0), learning_rate=0.5)
    assert rate_of(training, model) == [0.5]


def test_every_group_is_at_its_own_largest_rate() -> None:
    model = mlp()
    optimizer = SGD(groups(model))
    scheduler = LambdaLR(optimizer, [lambda step: 2 - step, lambda step: min(step / 5, 1)])
    training = rp.Training(cross_entropy, optimizer, scheduler=scheduler, budget=20)
    assert rate_of(training, model) == pytest.approx([0.2, 0.4])


@pytest.mark.parametrize("given", [None, 0.5])
def test_a_rate_as_a_tensor_stays_one(given: float | None) -> None:
    model = mlp()
    rate = torch.tensor(0.01)
    optimizer = Adam(model.parameters(), rate)
    training = rp.Training(cross_entropy, optimizer, learning_rate=given)
    with prepared(model, training):
        inside = optimizer.param_groups[0]["lr"]
        assert torch.is_tensor(inside)
        assert float(inside) == pytest.approx(given or 0.01)
    assert optimizer.param_groups[0]["lr"] is rate
    assert float(rate) == pytest.approx(0.01)
    rp.probe(model, batches(), training=training)
    assert optimizer.param_groups[0]["lr"] is rate
    assert float(rate) == pytest.approx(0.01)


def test_a_schedule_over_a_rate_as_a_tensor() -> None:
    model = mlp()
    optimizer = Adam(model.parameters(), torch.tensor(0.01))
    scheduler = warm_up(optimizer)
    rate, before = optimizer.param_groups[0]["lr"], float(optimizer.param_groups[0]["lr"])
    training = rp.Training(cross_entropy, optimizer, scheduler=scheduler, budget=40)
    assert rate_of(training, model) == pytest.approx([0.01])
    assert optimizer.param_groups[0]["lr"] is rate
    assert float(rate) == before


def test_a_schedule_over_its_end_is_no_obstacle() -> None:
    model = mlp()
    optimizer = SGD(model.parameters(), 0.1)
    training = rp.Training(cross_entropy, optimizer, scheduler=one_cycle(optimizer), budget=500)
    assert rate_of(training, model) == pytest.approx([0.7])


def frozen() -> nn.Module:
    return mlp().requires_grad_(False)


@pytest.mark.parametrize("as_function", [True, False], ids=["function", "object"])
def test_refuses_an_optimizer_over_another_model(as_function: bool) -> None:
    other = SGD(nn.Linear(3, 2).parameters(), 0.1)
    optimizer: Any = (lambda parameters: other) if as_function else other
    message = r"`optimizer` \(SGD\) must be over parameters of `model`, but 2 of its 2 .*\(2, 3\)"
    with pytest.raises(ValueError, match=message):
        rp.probe(mlp(), batches(), training=rp.Training(cross_entropy, optimizer))


def test_refuses_an_optimizer_over_part_of_another_model() -> None:
    model = mlp()
    strange = SGD([*model.parameters(), nn.Parameter(torch.zeros(5))], 0.1)
    with pytest.raises(ValueError, match=r"but 1 of its \d+ are of another, the first .*\(5,\)"):
        rp.probe(model, batches(), training=rp.Training(cross_entropy, strange))


@pytest.mark.parametrize("as_function", [True, False], ids=["function", "object"])
def test_refuses_an_optimizer_over_nothing_that_trains(as_function: bool) -> None:
    model = frozen()
    made = SGD(model.parameters(), 0.1)
    optimizer: Any = (lambda parameters: made) if as_function else made
    with pytest.raises(ValueError, match=r"must have a parameter that trains, but all its 8 are"):
        rp.probe(model, batches(), training=rp.Training(cross_entropy, optimizer))


@pytest.mark.parametrize(("made", "name"), [(None, "NoneType"), (3, "int"), ("SGD", "str")])
def test_refuses_a_function_that_makes_no_optimizer(made: Any, name: str) -> None:
    training = rp.Training(cross_entropy, lambda parameters: made)
    with pytest.raises(TypeError, match=f"`optimizer` must be a .* but got {name}"):
        rp.probe(mlp(), batches(), training=training)


def test_refuses_a_schedule_over_another_optimizer() -> None:
    model = mlp()
    scheduler = warm_up(SGD(model.parameters(), 0.1))
    training = rp.Training(cross_entropy, SGD(model.parameters(), 0.1), scheduler=scheduler)
    with pytest.raises(ValueError, match="`scheduler` must be over the trial's `optimizer`"):
        rp.probe(model, batches(), training=training)
    training = rp.Training(cross_entropy, lambda p: SGD(p, 0.1), scheduler=scheduler)
    with pytest.raises(ValueError, match="or the scheduler as a function from the optimizer"):
        rp.probe(model, batches(), training=training)


def test_refuses_a_function_that_makes_no_schedule() -> None:
    made: Any = lambda optimizer: 0.1  # noqa: E731
    training = rp.Training(cross_entropy, lambda p: SGD(p, 0.1), scheduler=made)
    with pytest.raises(TypeError, match=r"`scheduler` must be a .*LRScheduler .* but got float"):
        rp.probe(mlp(), batches(), training=training)


def test_a_schedule_by_epochs_is_read_as_one_by_steps() -> None:
    """It can only be told by its function: a rate that falls is largest at its start."""
    model = mlp()
    training = rp.Training(
        cross_entropy, lambda p: SGD(p, 0.3), scheduler=lambda o: StepLR(o, 1), budget=100
    )
    assert rate_of(training, model) == [0.3]


def test_which_optimizers_need_a_closure() -> None:
    parameters = list(mlp().parameters())
    assert needs_closure(torch.optim.LBFGS(parameters))
    assert not needs_closure(SGD(parameters, 0.1))
    assert not needs_closure(Adam(parameters))


class Sharpness(SGD):
    """Asks for the loss at the weights and uphill of them; optional is its closure in name."""

    def step(self, closure: Any = None) -> Any:
        assert closure is not None, "it needs a closure"
        loss = closure()
        with torch.no_grad():
            moved = [p.grad.clone() for group in self.param_groups for p in group["params"]]
            for group in self.param_groups:
                for parameter, move in zip(group["params"], moved, strict=True):
                    parameter.add_(move, alpha=0.05)
        closure()
        with torch.no_grad():
            for group in self.param_groups:
                for parameter, move in zip(group["params"], moved, strict=True):
                    parameter.sub_(move, alpha=0.05)
        super().step()
        return loss


def test_an_optimizer_that_asks_for_a_closure_as_it_steps_gets_one() -> None:
    model = mlp()
    before = snapshot(model)
    training = rp.Training(cross_entropy, Sharpness(model.parameters(), 0.1), budget=100)
    found = rp.probe(model, batches(), training=training).steps
    assert found is not None
    assert found.loss_after < found.loss_before
    assert snapshot(model) == before
    needed = rp.preflight(model, batches(), training)
    assert needed.method == "traced"
    assert needed.memory.value > 0


def test_other_errors_of_a_step_are_raised() -> None:
    class Broken(SGD):
        def step(self, closure: Any = None) -> Any:
            raise ValueError("no")

    model = mlp()
    training = rp.Training(cross_entropy, Broken(model.parameters(), 0.1))
    with pytest.raises(ValueError, match="no"):
        rp.probe(model, batches(), training=training)


def test_an_optimizer_with_modes_is_set_to_train() -> None:
    class Moded(SGD):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.param_groups[0]["train_mode"] = False

        def train(self) -> None:
            self.param_groups[0]["train_mode"] = True

        def step(self, closure: Any = None) -> Any:
            if not self.param_groups[0]["train_mode"]:
                raise RuntimeError("Optimizer was not in train mode")
            return super().step(closure)

    model = mlp()
    optimizer = Moded(model.parameters(), 0.1)
    rp.probe(model, batches(), training=rp.Training(cross_entropy, optimizer))
    assert optimizer.param_groups[0]["train_mode"] is False


@pytest.mark.parametrize(
    ("make", "slow"),
    [
        (torch.optim.RAdam, True),
        (Adam, False),
        (lambda p: SGD(p, 0.1), False),
        (lambda p: with_group(SGD(p, 0.1), warmup_steps=500), True),
        (lambda p: with_group(SGD(p, 0.1), warmup_steps=0), False),
        (lambda p: with_group(SGD(p, 0.1), d0=1e-6), True),
    ],
)
def test_optimizers_that_begin_slowly_are_known(make: Any, slow: bool) -> None:
    model = mlp()
    training = rp.Training(cross_entropy, make(model.parameters()), budget=600)
    found = rp.probe(model, batches(), training=training)
    assert found.steps is not None
    assert found.steps.slow_start is slow
    assert rp.ProbeResult.from_dict(found.to_dict()).steps == found.steps


def with_group(optimizer: Optimizer, **values: Any) -> Optimizer:
    optimizer.param_groups[0].update(values)
    return optimizer


def test_a_rate_that_is_not_finite_shows_in_the_steps() -> None:
    model = mlp()
    optimizer = SGD(model.parameters(), math.inf)
    found = rp.probe(model, batches(), training=rp.Training(cross_entropy, optimizer)).steps
    assert found is not None
    assert found.nonfinite_step is not None
