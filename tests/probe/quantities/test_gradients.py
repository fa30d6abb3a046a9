from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import recent_prune as rp
from recent_prune.probe import Backward, GradientProfile, probe
from recent_prune.probe.quantities.gradients import gradient_profile
from tests.networks import Noisy, Residual, Tokens, mlp


@pytest.fixture
def labels(digits: Tensor) -> Tensor:
    return torch.arange(len(digits)) % 10


def profile(model: nn.Module, inputs: Tensor, backward: Backward) -> GradientProfile:
    found = probe(model, inputs, backward=backward).gradients
    assert found is not None
    return found


def test_sizes_are_those_of_plain_backward(digits: Tensor, labels: Tensor) -> None:
    model = mlp(depth=3)
    found = profile(model, digits[:100], Backward(cross_entropy, labels[:100]))
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


@pytest.mark.parametrize(
    ("name", "optimizer"), [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam)]
)
def test_update_ratio_is_that_of_the_first_step(
    digits: Tensor, labels: Tensor, name: Any, optimizer: Any
) -> None:
    model = mlp(depth=3)
    found = profile(model, digits[:100], Backward(cross_entropy, labels[:100], 0.01, name))
    before = model.hidden2.weight.detach().clone()  # type: ignore[union-attr, operator]
    step = optimizer(model.parameters(), 0.01)
    cross_entropy(model(digits[:100]), labels[:100]).backward()
    step.step()
    moved = (model.hidden2.weight.detach() - before).norm() / before.norm()  # type: ignore[union-attr, operator]
    assert found.update_ratio is not None
    assert found.update_ratio[1] == pytest.approx(float(moved), rel=1e-3)


def test_without_a_learning_rate_there_is_no_ratio(digits: Tensor, labels: Tensor) -> None:
    assert profile(mlp(), digits, Backward(cross_entropy, labels)).update_ratio is None


def test_labels_come_with_the_batches_or_beside(digits: Tensor, labels: Tensor) -> None:
    loader = DataLoader(TensorDataset(digits[:160], labels[:160]), batch_size=50)
    beside = probe(mlp(), digits[:160], backward=Backward(cross_entropy, labels[:160]))
    assert probe(mlp(), loader, backward=Backward(cross_entropy)) == beside


def test_gradients_vanish_in_the_ordered_phase(digits: Tensor, labels: Tensor) -> None:
    def first_to_last(weight_variance: float) -> float:
        model = mlp(depth=30, width=64, weight_variance=weight_variance)
        sizes = profile(model, digits, Backward(cross_entropy, labels)).gradient_rms
        return sizes[0] / sizes[-2]

    assert first_to_last(0.5) < 1e-4
    assert 0.01 < first_to_last(1.76) < 100
    assert first_to_last(5.0) > 100


def test_leaves_no_trace_and_does_not_move_the_forward_profile(
    digits: Tensor, labels: Tensor
) -> None:
    model = Noisy()
    model.body[1].bias.grad = torch.ones(16)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    both = probe(model, digits, backward=Backward(cross_entropy, labels))
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(model.body[1].bias.grad, torch.ones(16))
    assert model.body[5].weight.grad is None
    forward = probe(model, digits)
    assert both.retained == forward.retained
    rule = rp.RetainedInformationRule()
    assert rule(both) == rule(forward)


def test_frozen_weights_are_left_out_and_unused_ones_get_nothing(
    digits: Tensor, labels: Tensor
) -> None:
    model = Residual()
    model.stem.weight.requires_grad_(False)
    model.unused = nn.Linear(3, 3)
    found = profile(model, digits, Backward(cross_entropy, labels))
    assert found.layers == ("block", "head", "unused")
    assert found.gradient_rms[-1] == 0


def test_weights_of_attention_and_embeddings_count() -> None:
    tokens = torch.randint(0, 50, (100, 6))
    found = profile(Tokens(), tokens, Backward(cross_entropy, torch.arange(100) % 10))
    assert found.layers == ("embedding", "hidden", "head")
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    model = nn.Sequential(layer, nn.Flatten(), nn.Linear(64, 10))
    found = profile(model, torch.rand(100, 4, 16), Backward(cross_entropy, torch.arange(100) % 10))
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
    for other in (mlp(), model):
        for rate in (None, 0.1):
            result = probe(other, digits, backward=Backward(cross_entropy, labels, rate))
            text = json.dumps(result.to_dict(), allow_nan=False)
            back = rp.ProbeResult.from_dict(json.loads(text))
            assert back == result


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"loss": 3}, TypeError, "`loss` must be a function or a module, but got 3"),
        (
            {"loss": nn.CrossEntropyLoss},
            TypeError,
            "or a module, but got <class .*CrossEntropyLoss",
        ),
        ({"labels": 1e-3}, TypeError, "`labels` must be a tensor, but got float"),
        (
            {"learning_rate": 0.0},
            ValueError,
            "`learning_rate` must be a positive number, but got 0.0",
        ),
        ({"learning_rate": "1e-3"}, ValueError, "must be a positive number, but got '1e-3'"),
        ({"optimizer": "lion"}, ValueError, "must be 'sgd' or 'adam', but got 'lion'"),
    ],
)
def test_refuses_bad_settings(
    settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Backward(**{"loss": cross_entropy, **settings})


def test_refuses_to_go_back_without_labels_or_scalar_loss(digits: Tensor, labels: Tensor) -> None:
    with pytest.raises(ValueError, match=r"`backward` needs labels: give Backward\(labels=…\)"):
        probe(mlp(), digits, backward=Backward(cross_entropy))
    with pytest.raises(ValueError, match="`loss` must give a scalar tensor, but gave tensor"):
        probe(mlp(), digits, backward=Backward(lambda output, _: output, labels))
    frozen = mlp().requires_grad_(False)
    with pytest.raises(ValueError, match=r"`model` \(Sequential\) has no weights that train"):
        gradient_profile(frozen, digits, labels, Backward(cross_entropy))


def test_sparse_gradients_are_gradients() -> None:
    class Sparse(Tokens):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(50, 8, sparse=True)

    tokens, labels = torch.randint(0, 50, (100, 6)), torch.arange(100) % 10
    for optimizer in ("sgd", "adam"):
        backward = Backward(cross_entropy, labels, 0.1, optimizer)
        found = profile(Sparse(), tokens, backward)
        assert found.layers[0] == "embedding"
        assert found.gradient_rms[0] > 0


def test_inputs_of_inference_mode_can_go_back(labels: Tensor) -> None:
    with torch.inference_mode():
        inputs = torch.rand(160, 16) @ torch.rand(16, 64)
    assert profile(mlp(), inputs, Backward(cross_entropy, labels[:160])).loss > 0


def test_errors_of_the_loss_say_what_it_got(digits: Tensor, labels: Tensor) -> None:
    class Named(nn.Linear):
        def forward(self, x: Tensor) -> Any:
            return {"logits": super().forward(x.flatten(1))}

    with pytest.raises(TypeError) as caught:
        probe(Named(64, 10), digits, backward=Backward(cross_entropy, labels))
    assert "gets what the model returns, here dict, and labels" in caught.value.__notes__[0]


def test_refuses_a_loss_in_place_of_settings(digits: Tensor) -> None:
    with pytest.raises(TypeError, match="`backward` must be a Backward, but got function"):
        probe(mlp(), digits, backward=cross_entropy)  # type: ignore[arg-type]
