from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import recent_prune as rp
from recent_prune.probe.batches.moving import described
from recent_prune.probe.batches.raising import raising
from recent_prune.probe.first_steps.objective import Answer, objective

X, Y = torch.rand(4, 3), torch.arange(4) % 2


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, 0.1)


def asked(model: nn.Module, batch: Any, loss: Any = cross_entropy, **other: Any) -> Answer:
    return objective(rp.Training(loss, sgd, **other))(model, batch)


def test_loss_output_and_target_of_a_pair() -> None:
    model = nn.Linear(3, 2)
    found = asked(model, (X, Y))
    assert found.output is not None
    assert torch.equal(found.output, model(X))
    assert torch.equal(found.loss, cross_entropy(model(X), Y))
    assert found.loss.requires_grad
    assert torch.equal(found.target, Y)


class Returning(nn.Module):
    """Returns its output as one of many things."""

    def __init__(self, form: Any) -> None:
        super().__init__()
        self.layer, self.form = nn.Linear(3, 2), form

    def forward(self, x: Tensor, labels: Tensor) -> Any:
        logits = self.layer(x)
        return self.form(cross_entropy(logits, labels), logits)


@dataclass
class Output:
    loss: Tensor
    hidden: Tensor
    logits: Tensor


@pytest.mark.parametrize(
    ("form", "known"),
    [
        (lambda loss, logits: loss, False),
        (lambda loss, logits: (loss, logits), False),
        (lambda loss, logits: {"logits": logits, "loss": loss}, True),
        (lambda loss, logits: OrderedDict(loss=loss, logits=logits), True),
        (lambda loss, logits: SimpleNamespace(loss=loss, logits=logits), True),
        (lambda loss, logits: Output(loss, logits * 0, logits), True),
    ],
    ids=["loss", "tuple", "mapping", "ordered", "object", "dataclass"],
)
def test_a_loss_of_the_models_own(form: Any, known: bool) -> None:
    model = Returning(form)
    logits = model.layer(X)
    found = asked(model, {"x": X, "labels": Y}, None)
    assert torch.equal(found.loss, cross_entropy(logits, Y))
    assert torch.equal(found.target, Y)
    if known:
        assert found.output is not None
        assert torch.equal(found.output, logits)
    assert torch.equal(asked(model, (X, Y), None).loss, found.loss)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (lambda loss, logits: None, "but it returned a NoneType"),
        (lambda loss, logits: {"logits": logits}, "but it returned a dict"),
        (lambda loss, logits: SimpleNamespace(logits=logits), "but it returned a SimpleNamespace"),
        (lambda loss, logits: (None, logits), "but it returned a tuple"),
    ],
)
def test_a_model_without_a_loss_of_its_own(form: Any, message: str) -> None:
    with pytest.raises(ValueError, match=rf"`loss` is None, so `model` \(Returning\) .*{message}"):
        asked(Returning(form), (X, Y), None)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda output, _: output, r"gave a tensor of shape \(4, 2\), torch.float32"),
        (lambda output, _: output.sum().item(), "gave a float"),
        (lambda output, _: output.argmax(), r"gave a tensor of shape \(\), torch.int64"),
        (lambda output, _: None, "gave a NoneType"),
    ],
)
def test_a_loss_that_is_no_scalar(loss: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"`loss` must give a scalar tensor, but {message}"):
        asked(nn.Linear(3, 2), (X, Y), loss)


@pytest.mark.parametrize("batch", [X, (X,), {"x": X}, (X, None)])
@pytest.mark.parametrize("call", [None, lambda model, batch: model(X)])
def test_a_target_that_is_missing(batch: Any, call: Any) -> None:
    with pytest.raises(ValueError, match=r"`loss` needs a target, but the batch \(.*has none"):
        asked(nn.Linear(3, 2), batch, call=call)


def test_call_says_how_the_model_is_called() -> None:
    model = nn.Linear(3, 2)
    batch = SimpleNamespace(features=X, to=lambda _: SimpleNamespace(features=X))
    found = asked(model, batch, None, call=lambda m, b: m(b.features).square().mean())
    assert torch.equal(found.loss, model(X).square().mean())
    assert (found.output, found.target) == (None, None)
    views = {"one": X, "other": X + 1, "y": Y}  # which of them is meant need not be known
    found = asked(model, views, call=lambda m, b: m(b["one"]) - m(b["other"]))
    assert torch.equal(found.loss, cross_entropy(model(X) - model(X + 1), Y))
    whole = Answer(torch.tensor(1.0), X, Y)
    assert asked(model, (X, Y), None, call=lambda *_: whole) is whole


def test_mixed_precision_is_that_of_the_loop() -> None:
    found = asked(nn.Linear(3, 2), (X, Y), autocast=torch.bfloat16)
    assert found.output is not None
    assert found.output.dtype == torch.bfloat16
    assert found.loss.dtype == torch.float32
    assert not torch.is_autocast_enabled("cpu")


def test_errors_say_where_and_for_which_batch() -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied") as caught:
        asked(nn.Linear(5, 2), (X, Y))
    assert caught.value.__notes__ == [
        "Raised in the forward pass, for a batch of (4, 3) float32, (4,) int64. The model is "
        "called as Linear(input: torch.Tensor): say how with a batch, call=lambda model, batch: "
        "model(…)."
    ]
    with pytest.raises(ValueError, match="batch_size") as other:
        asked(nn.Linear(3, 2), (X, Y[:3]))
    (note,) = other.value.__notes__
    assert note == (
        "Raised in `loss`, for a batch of (4, 3) float32, (3,) int64. It got a tensor of shape "
        "(4, 2), torch.float32, and a tensor of shape (3,), torch.int64 as target; where the batch "
        "is meant otherwise: The model is called as Linear(input: torch.Tensor): say how with a "
        "batch, call=lambda model, batch: model(…)."
    )


@pytest.mark.parametrize("kind", [torch.OutOfMemoryError, ValueError])
def test_a_note_keeps_the_type(kind: type[Exception]) -> None:
    with pytest.raises(kind, match="mine") as caught, raising("the test", X, Y, X):
        raise kind("mine")
    assert caught.value.__notes__ == [
        "Raised in the test, for a batch of (4, 3) float32; (4,) int64."
    ]
    with pytest.raises(KeyboardInterrupt, match="stop") as stopped, raising("the test"):
        raise KeyboardInterrupt("stop")
    assert not hasattr(stopped.value, "__notes__")


def test_batches_in_a_few_words() -> None:
    assert described({"x": X, "y": [Y, "text"]}) == "x: (4, 3) float32, y: (4,) int64, str"
    assert described([X] * 20).count("float32") == 8
    assert described(None) == "NoneType"
