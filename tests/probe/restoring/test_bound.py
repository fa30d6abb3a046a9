from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import recent_prune as rp
from tests.networks import mlp
from tests.probe.first_steps.trials import batches

DATA = batches()


def probed(model: nn.Module, loss: Any = cross_entropy, **given: Any) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    rp.probe(model, DATA, training=rp.Training(loss, optimizer, steps=2, **given))


class Schedule:
    """Weights a part of the loss the more the longer it trains."""

    def __init__(self) -> None:
        self.step, self.log = 0, Counter[str]()

    def loss(self, output: Tensor, labels: Tensor) -> Tensor:
        self.step += 1
        self.log["asked"] += 1
        return cross_entropy(output, labels) * (1 + self.step)

    __call__ = loss


@pytest.mark.parametrize(
    "of", [lambda s: s, lambda s: s.loss, lambda s: partial(s.loss), lambda s: lambda o, y: s(o, y)]
)
def test_an_object_that_counts_comes_back(of: Callable[[Schedule], Any]) -> None:
    schedule = Schedule()
    probed(mlp(), of(schedule))
    assert (schedule.step, schedule.log) == (0, Counter())


def test_closures_come_back() -> None:
    count, losses, memory = 0, {"last": [0.0]}, torch.zeros(2)
    draw, noise = np.random.default_rng(0), torch.Generator().manual_seed(0)
    before = draw.bit_generator.state, noise.get_state()

    def call(model: nn.Module, batch: Any) -> Any:
        nonlocal count
        count += 1
        losses["last"].append(float(draw.random()))
        memory.add_(torch.rand(2, generator=noise))
        return model(batch[0])

    probed(mlp(), call=call)
    assert (count, losses, memory.tolist()) == (0, {"last": [0.0]}, [0, 0])
    assert draw.bit_generator.state == before[0]
    assert torch.equal(noise.get_state(), before[1])


class Keeping(nn.Module):
    """Keeps all kinds of things beside what it registers."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.bank = mlp(), torch.zeros(2)
        self.known: dict[str, Any] = {"norm": nn.BatchNorm1d(64), "steps": {"made": 0}}
        self.draw = np.random.default_rng(0)

    def forward(self, images: Tensor) -> Tensor:
        self.bank.add_(1)
        self.known["steps"]["made"] += 1
        self.known["norm"].train()(images.flatten(1))
        self.draw.random()
        output: Tensor = self.net(images)
        return output


def test_what_a_model_keeps_comes_back() -> None:
    model = Keeping()
    before = model.draw.bit_generator.state
    probed(model)
    assert model.bank.tolist() == [0, 0]
    assert model.known["steps"] == {"made": 0}
    assert int(model.known["norm"].num_batches_tracked) == 0
    assert model.draw.bit_generator.state == before


def test_where_others_may_write_nothing_of_theirs_is_lost() -> None:
    schedule, model = Schedule(), Keeping()
    ended = threading.Event()
    other = threading.Thread(target=ended.wait)
    other.start()
    try:
        probed(model, schedule.loss)
    finally:
        ended.set()
        other.join()
    assert schedule.step > 0
    assert model.known["steps"] == {"made": 0}
