from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import recent_prune as rp
from recent_prune.probe import GradientProfile, probe
from tests.networks import Residual, Tokens, mlp


@pytest.fixture
def labels(digits: Tensor) -> Tensor:
    return torch.arange(len(digits)) % 10


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, 0.01)


def profile(
    model: nn.Module, inputs: Tensor, labels: Tensor, optimizer: Any = sgd
) -> GradientProfile:
    """Of one step on all of the samples, in the order in which they come."""
    training = rp.Training(cross_entropy, optimizer, steps=1)
    found = probe(model, [(inputs, labels)], training=training).gradients
    assert found is not None
    return found


def test_sizes_are_those_of_plain_backward(digits: Tensor, labels: Tensor) -> None:
    model = mlp(depth=3)
    found = profile(model, digits[:100], labels[:100])
    loss = cross_entropy(model(digits[:100]), labels[:100])
    loss.backward()
    assert found.layers == ("hidden1", "hidden2", "hidden3", "head")
    assert found.loss == pytest.approx(float(loss.detach()))
    for name, gradient_rms, weight_rms in zip(
        found.layers, found.gradient_rms, found.weight_rms, strict=True
    ):
        layer = model.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        assert layer.weight.grad is not None
        assert gradient_rms == pytest.approx(float(layer.weight.grad.square().mean().sqrt()))
        assert weight_rms == pytest.approx(float(layer.weight.detach().square().mean().sqrt()))


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam, torch.optim.RMSprop])
def test_update_ratio_is_that_of_the_first_step(
    digits: Tensor, labels: Tensor, optimizer: Any
) -> None:
    model = mlp(depth=3)
    found = profile(model, digits[:100], labels[:100], lambda p: optimizer(p, 0.01))
    before = model.hidden2.weight.detach().clone()  # type: ignore[union-attr, operator]
    step = optimizer(model.parameters(), 0.01)
    cross_entropy(model(digits[:100]), labels[:100]).backward()
    step.step()
    moved = (model.hidden2.weight.detach() - before).norm() / before.norm()  # type: ignore[union-attr, operator]
    assert found.update_ratio is not None
    assert found.update_ratio[1] == pytest.approx(float(moved), rel=1e-3)


def test_gradients_vanish_in_the_ordered_phase(digits: Tensor, labels: Tensor) -> None:
    def first_to_last(weight_variance: float) -> float:
        model = mlp(depth=30, width=64, weight_variance=weight_variance)
        sizes = profile(model, digits, labels).gradient_rms
        return sizes[0] / sizes[-2]

    assert first_to_last(0.5) < 1e-4
    assert 0.01 < first_to_last(1.76) < 100
    assert first_to_last(5.0) > 50


def test_frozen_weights_are_left_out_and_unused_ones_get_nothing(
    digits: Tensor, labels: Tensor
) -> None:
    model = Residual()
    model.stem.weight.requires_grad_(False)
    model.unused = nn.Linear(3, 3)
    found = profile(model, digits, labels)
    assert found.layers == ("block", "head", "unused")
    assert found.gradient_rms[-1] == 0


def test_weights_of_attention_and_embeddings_count() -> None:
    tokens = torch.randint(0, 50, (100, 6))
    found = profile(Tokens(), tokens, torch.arange(100) % 10)
    assert found.layers == ("embedding", "hidden", "head")
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    model = nn.Sequential(layer, nn.Flatten(), nn.Linear(64, 10))
    found = profile(model, torch.rand(100, 4, 16), torch.arange(100) % 10)
    assert found.layers[-1] == "2"  # the head, although attention never calls its out_proj
    assert set(found.layers) == {
        "0.self_attn",
        "0.self_attn.out_proj",
        "0.linear1",
        "0.linear2",
        "2",
    }
    assert min(found.gradient_rms) > 0


def test_survives_json(digits: Tensor, labels: Tensor) -> None:
    model = mlp(depth=5, activation="relu", weight_variance=1e30)
    training = rp.Training(cross_entropy, sgd, before=True)
    for other in (mlp(), model):
        result = probe(other, (digits, labels), training=training)
        text = json.dumps(result.to_dict(), allow_nan=False)
        assert rp.ProbeResult.from_dict(json.loads(text)) == result


def test_weights_of_zero_have_no_ratio_that_is_finite(digits: Tensor, labels: Tensor) -> None:
    model = mlp(depth=2)
    nn.init.zeros_(model.head.weight)  # type: ignore[union-attr, arg-type]
    found = profile(model, digits, labels)
    assert found.update_ratio is not None
    assert found.update_ratio[-1] == torch.inf
    assert found.update_ratio[0] == 0.0  # behind it no gradient arrives


def test_sparse_gradients_are_gradients() -> None:
    class Sparse(Tokens):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(50, 8, sparse=True)

    tokens, labels = torch.randint(0, 50, (100, 6)), torch.arange(100) % 10
    found = profile(Sparse(), tokens, labels)
    assert found.layers[0] == "embedding"
    assert found.gradient_rms[0] > 0


def test_inputs_of_inference_mode_can_go_back(labels: Tensor) -> None:
    with torch.inference_mode():
        inputs = torch.rand(160, 16) @ torch.rand(16, 64)
        wanted = labels[:160].clone()
    assert profile(mlp(), inputs, wanted).loss > 0
