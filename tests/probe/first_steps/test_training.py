from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import recent_prune as rp
from tests.networks import mlp
from tests.probe.first_steps.trials import batches


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, 0.1)


def test_defaults() -> None:
    training = rp.Training(cross_entropy, sgd)
    assert training.steps == 6
    assert training.batch_size == 64
    assert training.accumulate == 1
    assert training.budget is None
    assert training.clip_norm is None
    assert not training.before


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"steps": 0}, ValueError, "`steps` must be an integer ≥ 1, but got 0"),
        ({"steps": -3}, ValueError, "`steps` must be an integer ≥ 1, but got -3"),
        ({"steps": 2.0}, ValueError, "`steps` must be an integer ≥ 1, but got 2.0"),
        ({"steps": True}, ValueError, "`steps` must be an integer ≥ 1, but got True"),
        ({"steps": None}, ValueError, "`steps` must be an integer ≥ 1, but got None"),
        ({"steps": 9, "budget": 8}, ValueError, "at most `budget`, .* but got 9 and 8"),
        ({"budget": 5}, ValueError, "at most `budget`, .* but got 6 and 5"),
        ({"budget": 0}, ValueError, "`budget` must be an integer ≥ 1, but got 0"),
        ({"budget": 1e4}, ValueError, "`budget` must be an integer ≥ 1, but got 10000.0"),
        ({"accumulate": 0}, ValueError, "`accumulate` must be an integer ≥ 1, but got 0"),
        ({"batch_size": 0}, ValueError, "`batch_size` must be an integer ≥ 1, but got 0"),
        ({"learning_rate": 0.0}, ValueError, "`learning_rate` must be a positive .* got 0.0"),
        ({"learning_rate": -1}, ValueError, "`learning_rate` must be a positive .* got -1"),
        ({"learning_rate": math.nan}, ValueError, "`learning_rate` must be a positive .* got nan"),
        ({"learning_rate": math.inf}, ValueError, "`learning_rate` must be a positive .* got inf"),
        ({"learning_rate": "0.1"}, ValueError, "`learning_rate` must be a positive .* got '0.1'"),
        ({"clip_norm": 0}, ValueError, "`clip_norm` must be a positive number, but got 0"),
        ({"clip_norm": True}, ValueError, "`clip_norm` must be a positive number, but got True"),
        (
            {"optimizer": torch.optim.SGD},
            TypeError,
            r"`optimizer` must be a function .* give lambda parameters: SGD\(parameters, …\)",
        ),
        ({"optimizer": None}, TypeError, "`optimizer` must be a function .* but got None"),
        ({"optimizer": "sgd"}, TypeError, "`optimizer` must be a function .* but got 'sgd'"),
        (
            {"loss": nn.CrossEntropyLoss},
            TypeError,
            r"`loss` must be a function .* give CrossEntropyLoss\(…\), an instance",
        ),
        ({"loss": "cross_entropy"}, TypeError, "`loss` must be .* but got 'cross_entropy'"),
        ({"call": 3}, TypeError, "`call` must be a function or an object, but got 3"),
        ({"scheduler": 0.5}, TypeError, "`scheduler` must be a function .* but got 0.5"),
        (
            {"scheduler": torch.optim.lr_scheduler.OneCycleLR},
            TypeError,
            r"`scheduler` must be .* give OneCycleLR\(…\), an instance",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_refuses_what_is_no_training(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        rp.Training(**{"loss": cross_entropy, "optimizer": sgd} | arguments)


def test_numbers_go_in_by_name_alone() -> None:
    with pytest.raises(TypeError, match="positional argument"):
        rp.Training(cross_entropy, sgd, 6)  # type: ignore[call-arg]


@pytest.mark.parametrize("loss", [cross_entropy, nn.CrossEntropyLoss(), None])
def test_losses_are_functions_or_objects_or_none(loss: Any) -> None:
    assert rp.Training(loss, sgd, steps=8, budget=8).loss is loss


def test_a_probe_takes_nothing_else() -> None:
    with pytest.raises(TypeError, match="`training` must be a Training, but got dict"):
        rp.probe(mlp(), batches(), training={"loss": cross_entropy})  # type: ignore[arg-type]


SEEN: list[int] = []
"""Of a closure nothing would be left."""


def test_tensors_are_cut_to_the_batch_size() -> None:
    data = batches()
    inputs, labels = (torch.cat(part) for part in zip(*data, strict=True))

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if output.requires_grad:
            SEEN.append(len(target))
        return cross_entropy(output, target)

    for size in (20, 64):
        SEEN.clear()
        training = rp.Training(loss, sgd, steps=2, batch_size=size)
        rp.probe(mlp(), (inputs, labels), training=training)
        assert SEEN[:2] == [size, size]
        assert set(SEEN) == {size}


def test_the_probe_before_the_steps_is_that_without_them() -> None:
    model, data = mlp(), batches()
    found = rp.probe(model, data, training=rp.Training(cross_entropy, sgd, before=True))
    assert found.before is not None
    assert found.before.steps is None
    training = rp.Training(cross_entropy, lambda p: torch.optim.SGD(p, 1e-30))
    unmoved = rp.probe(model, data, training=training)
    assert unmoved.before is None
    assert found.before.retained == unmoved.retained
    assert found.retained != unmoved.retained
