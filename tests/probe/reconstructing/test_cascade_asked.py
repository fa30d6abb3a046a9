"""What cascades are asked for, and what they refuse."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from recent_prune.probe import Cascade, Ridge, probe
from tests.networks import Tokens, cnn, mlp

QUICK = Cascade(updates=30)


def test_reconstructs_chosen_samples(digits: Tensor) -> None:
    result = probe(cnn(), digits, estimator=QUICK, reconstruct=digits[:4])
    assert result.reconstructions is not None
    assert torch.equal(result.reconstructions.inputs, digits[:4])
    assert result.reconstructions.by_layer.shape == (3, 4, 1, 8, 8)


def test_layers_can_be_named(digits: Tensor) -> None:
    result = probe(mlp(), digits, estimator=QUICK, layers=["tanh2", "head"])
    assert result.layers == ("tanh2", "head")


def test_half_precision_models_are_fitted_in_single(digits: Tensor) -> None:
    half = probe(mlp().half(), digits.half(), estimator=QUICK)
    single = probe(mlp(), digits, estimator=QUICK)
    assert half.retained == pytest.approx(single.retained, abs=0.02)


def test_a_last_batch_of_one_sample_is_left_out(digits: Tensor) -> None:
    result = probe(cnn(batch_norm=True), digits[:87], estimator="cascade")  # 65 to fit
    assert result.nonfinite_layer is None


def test_exploding_activations_name_the_layer(digits: Tensor) -> None:
    model = mlp(depth=4, activation="relu", weight_variance=1e30)
    result = probe(model, digits, estimator=QUICK)
    # The activations of relu2 are finite, but their squares overflow in the fit.
    assert result.nonfinite_layer == "relu2"
    assert result.retained[1:] == (0.0, 0.0, 0.0)


class Parameter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear, self.scale = nn.Linear(64, 8), nn.Parameter(torch.ones(8))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.flatten(1)) * self.scale  # type: ignore[no-any-return]


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.flatten(1) if x.sum() > 0 else -x.flatten(1))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Parameter(), "layers follow one another, but 'mul' is also computed from 'scale'"),
        (Branching(), r"cannot follow the forward pass of `model` \(Branching\)"),
        (
            nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.GRUCell(8, 8)),
            r"no reconstruction layer for '2' \(GRUCell\)",
        ),
        (nn.Sequential(nn.Flatten(), nn.LayerNorm(64)), "found no linear or convolutional layer"),
        (
            nn.Sequential(nn.Conv2d(1, 4, 3), nn.PixelShuffle(2), nn.Flatten(), nn.Linear(144, 2)),
            r"cannot undo the reshaping around '2': .*from \(4, 6, 6\) to \(144,\) after it",
        ),
    ],
)
def test_what_is_no_chain_is_refused_by_name(
    model: nn.Module, message: str, digits: Tensor
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        probe(model, digits, estimator=Cascade(updates=1))
    assert "use estimator='ridge'" in str(caught.value)
    assert probe(model, digits, estimator=Ridge()).layers


def test_refuses_tokens() -> None:
    with pytest.raises(ValueError, match=r"needs floating `inputs`, but got torch.int64"):
        probe(Tokens(), torch.randint(0, 50, (200, 6)), estimator="cascade")


def test_refuses_unknown_layers(digits: Tensor) -> None:
    with pytest.raises(ValueError, match=r"must name modules of the model .* got \['tanh9'\]"):
        probe(mlp(), digits, estimator="cascade", layers=["tanh9"])
    with pytest.raises(ValueError, match=r"must name layers of the chain, but got \['flatten'\]"):
        probe(mlp(), digits, estimator="cascade", layers=["flatten"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"updates": 0}, "`updates` must be at least 1, but got 0"),
        ({"batch_size": 0}, "`batch_size` must be at least 2, but got 0"),
        ({"held_out": 0}, "`held_out` must be at least 1, but got 0"),
        ({"samples": 0}, "`samples` must be at least 1, but got 0"),
        ({"tolerance": 0.0}, "`tolerance` must be positive, but got 0.0"),
        ({"learning_rate": 0.0}, "`learning_rate` must be positive, but got 0.0"),
    ],
)
def test_refuses_bad_settings(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Cascade(**arguments)  # type: ignore[arg-type]


def test_a_module_called_twice_has_two_names(digits: Tensor) -> None:
    act = nn.Tanh()
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 16), act, nn.Linear(16, 16), act, nn.Linear(16, 10)
    )
    assert probe(model, digits, estimator=QUICK).layers == probe(model, digits).layers


def test_a_block_that_ends_otherwise_than_its_longest_way_is_refused(digits: Tensor) -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc, self.head = nn.Conv2d(1, 1, 1), nn.Linear(64, 64), nn.Linear(64, 9)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.conv(x).flatten(1) + self.fc(x.flatten(1)))  # type: ignore[no-any-return]

    with pytest.raises(ValueError, match=r"cannot undo .*its longest way ends with \(1, 8, 8\)"):
        probe(Mixed(), digits, estimator=QUICK)
