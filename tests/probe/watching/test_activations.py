from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
import torchvision
from torch import Tensor, nn

from recent_prune.probe import probe
from recent_prune.probe.watching.activations import run_observed
from recent_prune.rules import TrainabilityRule
from tests.networks import Functional, Noisy, Residual, Tokens, cnn, mlp


class Recorder:
    def __init__(self) -> None:
        self.input: Tensor | None = None
        self.layers: dict[str, Tensor] = {}
        self.output: Tensor | None = None

    def on_input(self, _: str, activation: Tensor, __: Tensor | None) -> None:
        assert self.input is None
        self.input = activation

    def on_layer(self, name: str, activation: Tensor, _: Tensor | None = None) -> None:
        assert name not in self.layers
        self.layers[name] = activation

    def on_output(self, output: Tensor, others: Sequence[Tensor] = ()) -> None:
        assert self.output is None
        self.output = output

    def on_loss(self, loss: Tensor) -> None:
        raise AssertionError(loss)


def observed(model: nn.Module, batch: Tensor, layers: list[str] | None = None) -> dict[str, Tensor]:
    recorder = Recorder()
    run_observed(model, batch, recorder, layers)
    assert recorder.input is None
    return recorder.layers


def test_modules_name_the_layers_and_the_head_is_left_out() -> None:
    model = mlp(depth=3)
    batch = torch.rand(20, 64)
    found = observed(model, batch)
    assert list(found) == ["tanh1", "tanh2", "tanh3"]
    torch.testing.assert_close(model.head(found["tanh3"]), model(batch))  # type: ignore[operator]


def test_functions_are_named_by_what_they_feed() -> None:
    model = Functional()
    batch = torch.rand(20, 1, 8, 8)
    found = observed(model, batch)
    assert list(found) == ["input of second", "input of head"]
    torch.testing.assert_close(model.head(found["input of head"]), model(batch))


def test_skip_connections_are_included() -> None:
    model = Residual()
    batch = torch.rand(20, 64)
    found = observed(model, batch)
    assert list(found) == ["input of block", "input of head"]
    torch.testing.assert_close(model.head(found["input of head"]), model(batch))


def test_in_place_activations_name_the_layer() -> None:
    assert list(observed(Noisy().eval(), torch.rand(20, 64))) == ["body.4", "body.6"]


def test_convolutions_with_pooling() -> None:
    found = observed(cnn(), torch.rand(20, 1, 8, 8))
    assert {name: tuple(t.shape) for name, t in found.items()} == {
        "2": (20, 4, 8, 8),
        "6": (20, 24),
        "8": (20, 12),
    }


def test_a_layer_called_twice_is_shown_twice() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.tanh = nn.Linear(8, 8), nn.Tanh()

        def forward(self, x: Tensor) -> Tensor:
            for _ in range(3):
                x = self.tanh(self.linear(x))
            return x

    assert list(observed(Shared(), torch.rand(20, 8))) == ["tanh", "tanh#2"]


def test_branches_from_one_tensor_show_it_once() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.left, self.right = (nn.Linear(8, 8) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            stem = self.stem(x)
            return self.left(stem) + self.right(stem)  # type: ignore[no-any-return]

    assert list(observed(Branches(), torch.rand(20, 8))) == ["stem"]


def test_a_model_without_hidden_layers_shows_its_output() -> None:
    assert list(observed(nn.Linear(8, 3), torch.rand(20, 8))) == ["output"]
    assert list(observed(nn.Sequential(nn.Linear(8, 3)), torch.rand(20, 8))) == ["output"]


@pytest.mark.parametrize("wrap", [lambda t: (t, None), lambda t: {"logits": t}, lambda t: [t]])
def test_outputs_may_be_tuples_or_mappings(wrap: object) -> None:
    class Wrapped(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:  # noqa: A002
            return wrap(super().forward(input))  # type: ignore[operator, no-any-return]

    assert list(observed(Wrapped(8, 3), torch.rand(20, 8))) == ["output"]


def test_keyword_arguments_are_seen() -> None:
    class Keywords(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.head = nn.Linear(8, 5), nn.Linear(5, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(input=self.first(input=x))  # type: ignore[no-any-return]

    assert list(observed(Keywords(), torch.rand(20, 8))) == ["first"]


@pytest.mark.parametrize(
    "parametrize",
    [
        nn.utils.parametrizations.weight_norm,
        nn.utils.parametrizations.spectral_norm,
        nn.utils.parametrizations.orthogonal,
    ],
)
def test_parametrized_layers_are_layers(parametrize: Callable[[nn.Module], nn.Module]) -> None:
    model = mlp(depth=3)
    plain = list(observed(model, torch.rand(20, 64)))
    for module in model.modules():
        if isinstance(module, nn.Linear):
            parametrize(module)
    assert list(observed(model, torch.rand(20, 64))) == plain


class Recurrent(nn.Module):
    """[n, 8, 8] as a sequence of rows."""

    def __init__(self, batch_first: bool, attention: bool) -> None:
        super().__init__()
        self.batch_first = batch_first
        self.body: nn.Module
        if attention:
            layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=batch_first)
            self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        else:
            self.body = nn.LSTM(8, 8, batch_first=batch_first)
        self.head = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(1).reshape(-1, 8, 8)
        output = self.body(rows if self.batch_first else rows.transpose(0, 1))
        sequence = output[0] if isinstance(output, tuple) else output
        last = sequence[:, -1] if self.batch_first else sequence[-1]
        return self.head(last)  # type: ignore[no-any-return]


@pytest.mark.parametrize(("attention", "count"), [(False, 1), (True, 6)])
def test_the_batch_may_be_the_second_axis(digits: Tensor, attention: bool, count: int) -> None:
    models = [Recurrent(batch_first, attention) for batch_first in (True, False)]
    models[1].load_state_dict(models[0].state_dict())
    first, second = (probe(model, digits) for model in models)
    assert first.layers == second.layers
    assert len(first.layers) == count
    assert "output" not in first.layers
    assert second.retained == pytest.approx(first.retained, abs=1e-3)


def test_activations_without_a_batch_axis_are_not_passed_over_in_silence() -> None:
    class Rows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.head = nn.Linear(64, 8), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            rows = torch.tanh(self.first(x))
            return self.head(torch.cat([rows, rows[:7]]))[: len(x)]  # type: ignore[no-any-return]

    with pytest.raises(
        ValueError, match=r"\(Rows\) has 1 hidden activations, but none has an axis"
    ):
        probe(Rows(), torch.rand(20, 64))


@pytest.mark.parametrize("name", ["resnet18", "vgg11", "mobilenet_v2"])
def test_convolutional_networks_of_torchvision_are_kept(digits: Tensor, name: str) -> None:
    model = getattr(torchvision.models, name)(num_classes=10)
    images = nn.functional.interpolate(digits[:160], size=(32, 32)).expand(-1, 3, -1, -1)
    result = probe(model, images)
    assert result.depth > 5
    assert TrainabilityRule()(result).trainable


def test_layers_can_be_named() -> None:
    found = observed(mlp(), torch.rand(20, 64), ["hidden1", "head"])
    assert {name: tuple(t.shape) for name, t in found.items()} == {
        "hidden1": (20, 16),
        "head": (20, 10),
    }


@pytest.mark.parametrize("layers", [["hidden9"], [""], []])
def test_refuses_unknown_layers(layers: list[str]) -> None:
    with pytest.raises(ValueError, match=r"`layers` must name modules .* there are \['flatten'"):
        probe(mlp(), torch.rand(20, 64), layers=layers)


def test_refuses_a_string_for_layers() -> None:
    with pytest.raises(TypeError, match="must be a sequence of names, but got the string 'head'"):
        probe(mlp(), torch.rand(20, 64), layers="head")


def test_refuses_named_layers_that_give_no_activation() -> None:
    class Unused(Functional):
        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Linear(2, 2)

    with pytest.raises(ValueError, match=r"`layers` names \['unused'\], which gave no floating"):
        probe(Unused(), torch.rand(20, 64), layers=["first", "unused"])


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (nn.Sequential(nn.Flatten(), nn.Tanh()), ValueError, r"\(Sequential\) has no parameters"),
        (nn.Identity(), ValueError, r"\(Identity\) has no parameters"),
        (torch.tanh, TypeError, "must be a torch.nn.Module, but got builtin_function_or_method"),
        (nn.LazyLinear(3), ValueError, "uninitialized parameter 'weight': run one forward pass"),
    ],
)
def test_refuses_bad_models(model: nn.Module, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        probe(model, torch.rand(20, 8))


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")
def test_refuses_scripted_models() -> None:
    with pytest.raises(TypeError, match=r"must be an eager torch.nn.Module, but got Recursive"):
        probe(torch.jit.script(nn.Linear(8, 3)), torch.rand(20, 8))


def test_refuses_models_without_activations() -> None:
    class Scalar(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:  # noqa: A002
            return super().forward(input).sum()

    with pytest.raises(ValueError, match=r"no activations to probe.*float32 tensor of shape \(\)"):
        probe(Scalar(8, 3), torch.rand(20, 8))


def test_a_forward_pass_that_raises_names_the_inputs() -> None:
    with pytest.raises(RuntimeError, match="mat1 and mat2") as caught:
        probe(mlp(), torch.rand(20, 63))
    assert caught.value.__notes__ == [
        "Raised in the probe, during the forward pass of `model` (Sequential) for a batch of "
        "shape (36, 63), torch.float32, on cpu (`inputs`, and perturbed copies of some); its "
        "parameters are torch.float32. The model is called as Sequential(input): say how with a "
        "batch, call=lambda model, batch: model(…)."
    ]


def test_tokens_out_of_range_raise() -> None:
    with pytest.raises(IndexError, match="index out of range"):
        probe(Tokens(), torch.randint(50, 60, (20, 4)))


def test_one_call_of_several_can_be_asked_for() -> None:
    act = nn.Tanh()
    model = nn.Sequential(nn.Linear(8, 8), act, nn.Linear(8, 8), act, nn.Linear(8, 2))
    inputs = torch.rand(20, 8)
    result = probe(model, inputs)
    assert result.layers == ("1", "1#2")
    second = probe(model, inputs, layers=["1#2"])
    assert second.layers == ("1#2",)
    assert second.retained[0] == pytest.approx(result.retained[1], abs=1e-5)
    assert probe(model, inputs, layers=["1"]).layers == ("1", "1#2")
    assert probe(model, inputs, layers=["1#1"]).layers == ("1",)
    with pytest.raises(TypeError, match="`layers` must hold names, but got a Tanh"):
        probe(model, inputs, layers=[act])  # type: ignore[list-item]


def test_refuses_models_without_values() -> None:
    with pytest.raises(ValueError, match="has parameters on the meta device"):
        probe(nn.Linear(8, 2, device="meta"), torch.rand(20, 8))


def test_half_precision_tokens_are_summed_in_single() -> None:
    class Large(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.body = nn.Embedding(20, 8), nn.Linear(8, 8)
            self.head = nn.Linear(8, 2)
            nn.init.uniform_(self.embedding.weight, 30, 50)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.tanh(self.body(self.embedding(x))))  # type: ignore[no-any-return]

    result = probe(Large().half(), torch.randint(0, 20, (40, 4096)))
    assert result.nonfinite_layer is None
