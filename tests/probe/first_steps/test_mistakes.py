"""What is wrong gets a clear error, and nothing is changed by it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import (
    binary_cross_entropy_with_logits,
    cross_entropy,
)
from torch.utils.data import DataLoader, TensorDataset

from tests.networks import Noisy, mlp
from tests.probe.first_steps.trials import snapshot
from tests.probe.first_steps.untouched import (
    DATA,
    IMAGES,
    fails,
    learns,
    steps_of,
)


def test_labels_out_of_range() -> None:
    data = [(x, y + 1) for x, y in DATA]
    notes = fails(IndexError, "Target 10 is out of bounds", mlp(), data)
    assert "`loss`, for a batch of (40, 1, 8, 8) float32, (40,) int64" in notes
    assert "before the steps, in batch 1 of 4" in notes


def test_labels_out_of_range_in_the_batches_of_the_steps_alone() -> None:
    data = [(x, y + 1) if number == 2 else (x, y) for number, (x, y) in enumerate(DATA)]
    optimizer = torch.optim.Adam((model := Noisy()).parameters())
    before = snapshot(vars(optimizer))
    notes = fails(IndexError, "is out of bounds", model, data, cross_entropy, optimizer)
    assert "in first step 3 of 6" in notes
    assert snapshot(vars(optimizer)) == before


def test_labels_of_the_wrong_type() -> None:
    data = [(x, y.float()) for x, y in DATA]
    notes = fails(RuntimeError, "(?i)long.*float", mlp(), data)
    assert "`loss`" in notes
    assert "(40,) float32" in notes


def test_inputs_of_the_wrong_shape() -> None:
    data = [(torch.rand(40, 63), y) for _, y in DATA]
    notes = fails(RuntimeError, "shapes cannot be multiplied", mlp(), data)
    assert "the forward pass, for a batch of (40, 63) float32, (40,) int64" in notes


def test_batches_of_one_sample_under_batch_norm() -> None:
    data = DataLoader(TensorDataset(*map(torch.cat, zip(*DATA, strict=True))), batch_size=1)
    notes = fails(ValueError, "more than 1 value per channel", Noisy(), data)
    assert "(1, 1, 8, 8) float32, (1,) int64" in notes


def test_one_sample_that_is_left_over_of_tensors_is_no_obstacle() -> None:
    images, labels = (torch.cat(part) for part in zip(*DATA, strict=True))
    assert learns(steps_of(Noisy(), (images[:65], labels[:65])))


def test_a_loader_that_ends_at_once() -> None:
    message = "`inputs` must yield at least one batch, but it is empty"
    fails(ValueError, message, mlp(), [])
    exhausted: Iterator[Any] = iter(())
    fails(ValueError, message, mlp(), exhausted)


def test_too_few_samples() -> None:
    fails(ValueError, "at least 16 samples, but got 10", mlp(), [(IMAGES[0][:10], DATA[0][1][:10])])


@pytest.mark.parametrize("data", [IMAGES, torch.cat(IMAGES), [(x,) for x in IMAGES]])
def test_labels_that_are_missing(data: Any) -> None:
    fails(ValueError, r"`loss` needs a target, but the batch \(.*\(40|64", mlp(), data)


def test_a_mapping_without_labels() -> None:
    data = [{"image": x} for x in IMAGES]
    fails(ValueError, r"`loss` needs a target, but the batch \(image: \(40, 1, 8, 8\)", mlp(), data)


class Silent(nn.Module):
    """Returns what holds no loss."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp()

    def forward(self, x: Tensor, *labels: Tensor) -> Any:
        return {"logits": self.body(x)}


def test_a_model_that_returns_no_loss_of_its_own() -> None:
    message = r"`loss` is None, so `model` \(Silent\) must return its own, .* returned a dict"
    fails(ValueError, message, Silent(), DATA, None)


def test_a_model_that_returns_its_output_where_a_loss_is_meant() -> None:
    data = [x for x, _ in DATA]
    fails(ValueError, r"`loss` must give a scalar tensor, .* shape \(40, 10\)", mlp(), data, None)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda o, t: cross_entropy(o, t, reduction="none"), r"a tensor of shape \(40,\)"),
        (lambda o, t: 3.0, "a float"),
        (lambda o, t: None, "a NoneType"),
        (lambda o, t: (cross_entropy(o, t), 1), "a tuple"),
        (lambda o, t: (o.argmax(1) == t).sum(), r"a tensor of shape \(\), torch.int64"),
    ],
    ids=["unreduced", "number", "nothing", "tuple", "count"],
)
def test_a_loss_that_is_no_scalar(loss: Any, message: str) -> None:
    fails(ValueError, f"`loss` must give a scalar tensor, but gave {message}", mlp(), DATA, loss)


@pytest.mark.parametrize(
    "loss",
    [
        lambda o, t: cross_entropy(o.detach(), t),
        lambda o, t: torch.tensor(1.0),
        lambda o, t: torch.tensor(float(cross_entropy(o.detach(), t))),
    ],
    ids=["detached", "constant", "number"],
)
def test_a_loss_that_depends_on_no_parameter(loss: Any) -> None:
    notes = fails(ValueError, "`loss` must depend on a parameter that trains", mlp(), DATA, loss)
    assert "in first step 1 of 6" in notes


def test_a_loss_that_depends_on_no_parameter_of_the_optimizer() -> None:
    model = mlp()
    unused = nn.Parameter(torch.ones(3))
    model.register_parameter("unused", unused)
    optimizer = torch.optim.SGD([unused], 0.1)
    message = "`loss` must depend on a parameter that the optimizer trains, but none got a gradient"
    notes = fails(ValueError, message, model, DATA, cross_entropy, optimizer)
    assert "in first step 1 of 6" in notes


def test_an_optimizer_that_fails_says_where() -> None:
    class Failing(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            raise RuntimeError("no luck")

    notes = fails(RuntimeError, "no luck", mlp(), DATA, cross_entropy, lambda p: Failing(p, 0.1))
    assert "`optimizer.step()`, for a batch of (40, 1, 8, 8) float32, (40,) int64" in notes
    assert "in first step 1 of 6" in notes


def test_a_backward_pass_that_fails_says_where() -> None:
    model = mlp()
    model.head.register_full_backward_hook(  # type: ignore[union-attr]
        lambda *_: (_ for _ in ()).throw(RuntimeError("no way back"))
    )
    notes = fails(RuntimeError, "no way back", model, DATA)
    assert "the backward pass, for a batch of (40, 1, 8, 8) float32" in notes


@pytest.mark.parametrize("batch", ["text", 3, []])
def test_batches_that_say_nothing(batch: Any) -> None:
    fails(TypeError, "Batch 0 of `inputs` must hold a tensor|A batch must be", mlp(), [batch] * 9)


def test_several_labels_of_the_wrong_type() -> None:
    data = [(x, nn.functional.one_hot(y, 10)) for x, y in DATA]
    loss = binary_cross_entropy_with_logits
    notes = fails(RuntimeError, "Float|dtype|type", mlp(), data, loss)
    assert "(40, 10) int64" in notes
