from __future__ import annotations

import functools
import sys
import types
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.optim import SGD
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import recent_prune as rp
from recent_prune.probe.restoring.reaching import is_own, modules_beside, reached
from tests.networks import mlp

X, Y = torch.randn(256, 64, generator=torch.Generator().manual_seed(0)), torch.arange(256) % 10
TEACHER = mlp()


class Centred(nn.Module):
    """Keeps a mean of the outputs."""

    centre: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(10))

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        self.centre = 0.9 * self.centre + 0.1 * output.detach().mean(0)
        return cross_entropy(output - self.centre, target)


def by_teacher(output: Tensor, _: Tensor) -> Tensor:
    return mse_loss(output, TEACHER(X[: len(output)]).detach())


class System(nn.Module):
    """Holds the model that is trained, and a loss of its own."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.own = model, Centred()
        self.register_buffer("seen", torch.zeros(()))

    seen: Tensor

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        self.seen += 1
        found: Tensor = self.own(output, target)
        return found


def test_modules_are_found_by_closures_defaults_globals_and_methods() -> None:
    model, inner = mlp(), Centred()
    system = System(model)

    def closure(output: Tensor, target: Tensor) -> Any:
        return inner(output, target), model

    def default(output: Tensor, target: Tensor, loss: nn.Module = inner) -> Any:
        return loss(output, target)

    for called in (closure, default, inner, functools.partial(default, loss=inner)):
        assert modules_beside(model, [called]) == [inner]
    assert modules_beside(model, [by_teacher]) == list(TEACHER.modules())
    assert modules_beside(model, [system.loss]) == [system, system.own]
    assert modules_beside(model, [cross_entropy, None, model]) == []


def test_what_lies_in_a_registry_is_left_to_others() -> None:
    registry = {"other": Centred()}
    assert modules_beside(mlp(), [lambda output, y: registry["other"](output, y)]) == []


def test_objects_that_answer_for_others_are_no_obstacle() -> None:
    class Gone:
        pass

    proxy, inner = weakref.proxy(Gone()), Centred()
    assert any(found is inner for found in reached([lambda: (proxy, inner)]))


def test_texts_and_numbers_do_not_count() -> None:
    inner = Centred()
    paths = [[f"{place}/{number}" for number in range(1000)] for place in range(20)]
    assert any(found is inner for found in reached([lambda: (paths, [[[inner]]])]))


def test_the_script_is_the_users_own_also_in_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    main = types.ModuleType("__main__")
    main.__file__ = "/lib/site-packages/ray/_private/workers/default_worker.py"
    monkeypatch.setitem(sys.modules, "__main__", main)
    assert is_own(main)


def test_libraries_are_not_gone_through() -> None:
    assert len(list(reached([cross_entropy, torch.optim.SGD, mlp().forward]))) < 100


def test_a_loss_that_a_function_calls_is_as_it_was() -> None:
    model, loss = mlp(), Centred()
    centre = loss.centre
    training = rp.Training(lambda o, y: loss(o, y), SGD(model.parameters(), 0.1))
    rp.probe(model, (X, Y), training=training)
    assert loss.centre is centre
    assert not centre.any()


def test_so_is_one_that_holds_the_model() -> None:
    model = mlp()
    system = System(model)
    rp.probe(model, (X, Y), training=rp.Training(system.loss, SGD(model.parameters(), 0.1)))
    assert not system.get_buffer("seen").any()
    assert not system.own.centre.any()


def test_gradients_of_a_loss_that_learns_are_as_they_were() -> None:
    model, scale = mlp(), nn.Linear(10, 10)
    first = scale.weight.grad = torch.ones_like(scale.weight)
    training = rp.Training(lambda o, y: cross_entropy(scale(o), y), SGD(model.parameters(), 0.1))
    rp.probe(model, (X, Y), training=training)
    assert scale.weight.grad is first
    assert bool((first == 1).all())
    assert scale.bias.grad is None


@pytest.mark.parametrize("beside", [nn.LazyLinear(3), nn.Linear(3, 3, device="meta")])
def test_modules_without_values_beside_are_no_obstacle(beside: nn.Module) -> None:
    model = mlp()
    training = rp.Training(
        lambda o, y: cross_entropy(o, y) if beside else o, SGD(model.parameters(), 0.1)
    )
    assert rp.probe(model, (X, Y), training=training).steps is not None


def test_a_mean_that_the_optimizers_hook_keeps_is_as_it_was() -> None:
    model = mlp()
    optimizer = SGD(model.parameters(), 0.1)
    mean = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    optimizer.register_step_post_hook(lambda *_: mean.update_parameters(model))
    before = [p.clone() for p in mean.parameters()]
    rp.probe(model, (X, Y), training=rp.Training(cross_entropy, optimizer))
    assert int(mean.n_averaged) == 0
    assert all(map(torch.equal, before, mean.parameters()))
