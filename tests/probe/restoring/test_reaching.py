from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.optim import SGD
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import recent_prune as rp
from recent_prune.probe.restoring.reaching import other_modules, reached
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


def test_modules_are_found_by_closures_defaults_globals_and_objects() -> None:
    model, inner = mlp(), Centred()

    class Holder:
        def __init__(self) -> None:
            self.kept = {"loss": [inner]}

        def __call__(self, output: Tensor, target: Tensor) -> Tensor:
            loss: Tensor = self.kept["loss"][0](output, target)
            return loss

    def closure(output: Tensor, target: Tensor) -> Any:
        return inner(output, target), model

    def default(output: Tensor, target: Tensor, loss: nn.Module = inner) -> Any:
        return loss(output, target)

    for called in (closure, default, Holder(), functools.partial(default, loss=inner)):
        assert other_modules(model, [called]) == [inner]
    assert other_modules(model, [by_teacher]) == [TEACHER]
    assert other_modules(model, [nn.Sequential(model, inner), cross_entropy, None]) == [inner]


def test_libraries_are_not_gone_through() -> None:
    assert len(list(reached([cross_entropy, torch.optim.SGD, mlp().forward]))) < 100


def test_a_loss_that_a_function_calls_is_as_it_was() -> None:
    model, loss = mlp(), Centred()
    centre = loss.centre
    training = rp.Training(lambda o, y: loss(o, y), SGD(model.parameters(), 0.1))
    rp.probe(model, (X, Y), training=training)
    assert loss.centre is centre
    assert not centre.any()


def test_a_mean_that_the_optimizers_hook_keeps_is_as_it_was() -> None:
    model = mlp()
    optimizer = SGD(model.parameters(), 0.1)
    mean = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    optimizer.register_step_post_hook(lambda *_: mean.update_parameters(model))
    before = [p.clone() for p in mean.parameters()]
    rp.probe(model, (X, Y), training=rp.Training(cross_entropy, optimizer))
    assert int(mean.n_averaged) == 0
    assert all(map(torch.equal, before, mean.parameters()))
