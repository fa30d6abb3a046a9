from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from recent_prune.probe import Cascade, Ridge, probe, relative_entropy
from recent_prune.probe.reconstructing import cascade as cascade_module
from recent_prune.probe.reconstructing import reconstruction_stack
from recent_prune.probe.reconstructing.cascade import cascade, held_out_mask
from recent_prune.probe.reconstructing.chain import Chain
from recent_prune.probe.reconstructing.fitting import bound, fit
from recent_prune.probe.reconstructing.reconstruction_layer import ReconstructionLayer
from recent_prune.probe.reconstructing.reconstruction_stack import stacked
from recent_prune.rules import SaturationRule, TrainabilityRule
from tests.conftest import Reference
from tests.networks import Residual, Tokens, cnn, mlp

QUICK = Cascade(updates=30)


def authors_network(reference: Reference) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i in range(6):
        weight = torch.tensor(reference[f"net{i}_w"])
        linear = nn.Linear(weight.shape[1], weight.shape[0])
        linear.weight.data, linear.bias.data = weight, torch.tensor(reference[f"net{i}_b"])
        layers += [linear, nn.Tanh()]
    return nn.Sequential(*layers)


def authors_reconstruction_layers(reference: Reference, chain: Chain) -> list[ReconstructionLayer]:
    layers = [ReconstructionLayer(layer) for layer in chain.layers]
    for i, layer in enumerate(layers):
        (inverse,) = layer.inverses
        assert isinstance(inverse, nn.Linear)
        inverse.weight.data = torch.tensor(reference[f"dec{i}_w0"])
        inverse.bias.data = torch.tensor(reference[f"dec{i}_b0"])
    return layers


def test_agrees_with_authors(reference: Reference) -> None:
    """One pass over 3,200 images of MNIST in batches of 32, from the authors' initial weights."""
    train = torch.tensor(reference["x_train_first_3200_pooled"].astype(np.float32)) / 1020
    test = torch.tensor(reference["x_test_first_100_pooled"].astype(np.float32)) / 1020
    model = authors_network(reference)
    with torch.no_grad():
        chain = Chain(model, test)
        layers = authors_reconstruction_layers(reference, chain)
        bound(layers, [[test, *chain.activations(test)]])
        fit(layers, ([x, *chain.activations(x)] for x in train.split(32)), learning_rate=1e-3)
        reconstructions = cascade(layers, chain.activations(test))
    for l, reconstruction in enumerate(reconstructions):  # noqa: E741
        np.testing.assert_allclose(
            reconstruction[:5].numpy(), reference[f"recon_layer{l + 1}_first5"], atol=2e-4
        )
        np.testing.assert_allclose(
            relative_entropy(test.double(), reconstruction.double()).numpy(),
            reference["cascade_entropy_per_layer_per_sample"][l],
            rtol=5e-3,
        )


def textbook_fit(
    layers: list[ReconstructionLayer], batches: list[list[Tensor]], learning_rate: float
) -> None:
    """Each reconstruction layer alone: its own loss, its own optimizer, its own pass."""
    for number, layer in enumerate(layers):
        layer.bounded = all((batches[0][number].abs() <= 1).flatten())  # all batches are alike
        optimizer = torch.optim.Adam(layer.parameters(), lr=learning_rate)
        for activations in batches:
            before, after = activations[number], activations[number + 1]
            loss = (layer(after) - before).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


class PaperBlock(nn.Module):
    """tanh(x + conv(tanh(conv(x)))), the paper's."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = (nn.Conv2d(4, 4, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x + self.two(torch.tanh(self.one(x))))


def paper_resnet() -> nn.Sequential:
    stem = [nn.Conv2d(1, 4, 3, 2, 1), nn.Tanh()]
    return nn.Sequential(*stem, *(PaperBlock() for _ in range(3)), nn.Flatten(), nn.Linear(64, 10))


@pytest.mark.parametrize("at_once", [2**26, 30_000, 1])
@pytest.mark.parametrize("build", [cnn, paper_resnet, Residual, lambda: mlp(depth=4)])
def test_agrees_with_textbook_twin(
    digits: Tensor,
    build: Callable[[], nn.Module],
    at_once: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cascade_module, "AT_ONCE", at_once)
    model = build()
    with torch.no_grad():
        chain = Chain(model, digits[:50])
        batches = [[x, *chain.activations(x)] for x in digits[:640].split(64)]
        judged = chain.activations(digits[:50])
    ours, twins = ([ReconstructionLayer(layer) for layer in chain.layers] for _ in range(2))
    for a, b in zip(ours, twins, strict=True):
        b.load_state_dict(a.state_dict())
    bound(ours, batches[:1])
    fit(ours, iter(batches), learning_rate=1e-3)
    textbook_fit(twins, batches, 1e-3)
    with torch.no_grad():
        together = cascade(ours, judged)
        for depth, reconstruction in enumerate(together):
            expected = judged[depth]
            for layer in reversed(twins[: depth + 1]):
                expected = layer(expected)
            torch.testing.assert_close(reconstruction, expected, rtol=1e-4, atol=1e-5)


def test_a_residual_block_is_one_layer_of_as_many_steps_as_its_longest_way(digits: Tensor) -> None:
    chain = Chain(paper_resnet(), digits[:20])
    assert [len(layer.steps) for layer in chain.layers] == [1, 2, 2, 2, 1]
    result = probe(paper_resnet(), digits, estimator=QUICK)
    assert result.layers == ("1", "input of 3.one", "input of 4.one", "5")
    inverses = ReconstructionLayer(chain.layers[1]).inverses
    assert [type(inverse) for inverse in inverses] == [nn.ConvTranspose2d] * 2


def test_torchvisions_resnet_is_a_chain_of_blocks(digits: Tensor) -> None:
    torchvision = pytest.importorskip("torchvision")
    images = nn.functional.interpolate(digits[:40], size=(32, 32)).expand(-1, 3, -1, -1)
    model = torchvision.models.resnet18(num_classes=10)
    result = probe(model, images, estimator=Cascade(updates=2))
    assert result.depth == 9  # the stem and eight blocks
    assert result.layers[0] == "maxpool"
    assert result.layers[-1] == "input of fc"


def test_layers_of_one_shape_are_trained_as_one(digits: Tensor) -> None:
    layers = [ReconstructionLayer(layer) for layer in Chain(mlp(depth=6), digits[:20]).layers]
    assert [stack._places for stack in stacked(layers)] == [[0], [1, 2, 3, 4, 5], [6]]
    layers[2].bounded = False
    assert [stack._places for stack in stacked(layers)] == [[0], [1, 3, 4, 5], [2], [6]]
    wide = [ReconstructionLayer(layer) for layer in Chain(mlp(3, 300), digits[:20]).layers]
    assert [stack._places for stack in stacked(wide)] == [[0], [1], [2], [3]]


def test_stacked_convolutions_are_trained_as_if_alone(
    digits: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, where all stacks pay."""
    monkeypatch.setattr(reconstruction_stack, "_pays", lambda _: True)
    test_agrees_with_textbook_twin(digits, paper_resnet, 2**26, monkeypatch)
    layers = [ReconstructionLayer(layer) for layer in Chain(paper_resnet(), digits[:20]).layers]
    assert [stack._places for stack in stacked(layers)] == [[0], [1, 2], [3], [4]]


def test_probes_the_same_layers_as_ridge(digits: Tensor) -> None:
    for model in (mlp(), cnn(), cnn(batch_norm=True)):
        ridge, trained = probe(model, digits), probe(model, digits, estimator=QUICK)
        assert ridge.layers == trained.layers
        assert ridge.activation_rms == pytest.approx(trained.activation_rms, rel=0.2)


def steps(cascade: Cascade, samples: int) -> list[int]:
    return [len(batch) for batch in cascade._batches(torch.rand(samples, 1))]


def test_one_pass_is_the_default_and_short_ones_are_repeated() -> None:
    assert steps(Cascade(), 60_000) == [64] * 937 + [32]
    assert steps(Cascade(), 70_000) == [64] * 1093 + [48]
    assert steps(Cascade(), 150) == ([64, 64, 22] * 313)[:938]
    assert steps(Cascade(updates=2), 150) == [64, 64]
    assert steps(Cascade(updates=4), 129) == [64, 64, 64, 64]  # none of a single sample


@pytest.mark.parametrize(("activation", "weight_variance"), [("relu", 2.0), ("tanh", 1.76)])
@pytest.mark.parametrize("depth", [1, 5])
def test_networks_that_train_are_kept_by_default(
    digits: Tensor, activation: str, weight_variance: float, depth: int
) -> None:
    model = mlp(depth, 64, weight_variance, activation=activation)
    result = probe(model, digits, estimator="cascade")
    assert TrainabilityRule()(result).trainable
    assert SaturationRule()(result).trainable
    assert result.samples == len(digits)


def test_more_updates_reconstruct_better(digits: Tensor) -> None:
    few, many = (
        probe(mlp(depth=1, width=64), digits, estimator=Cascade(updates=n)) for n in (5, 300)
    )
    assert many.retained[0] > few.retained[0] + 0.2


def test_ends_once_the_profile_has_settled(digits: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = 0
    original = Cascade._batches

    def counted(self: Cascade, samples: Tensor) -> Iterator[Tensor]:
        nonlocal drawn
        drawn = 0
        for batch in original(self, samples):
            drawn += 1
            yield batch

    monkeypatch.setattr(Cascade, "_batches", counted)
    full = probe(mlp(depth=2), digits, estimator=Cascade(updates=1000))
    assert drawn == 1000
    early = probe(mlp(depth=2), digits, estimator=Cascade(updates=1000, tolerance=0.1))
    assert drawn in range(200, 1000, 100)
    assert early.relative_entropy == pytest.approx(full.relative_entropy, rel=0.2)
    probe(mlp(depth=2), digits, estimator=Cascade(updates=1000, tolerance=1e-9))
    assert drawn == 1000


@pytest.mark.parametrize("count", [135, 136, 137])
def test_batch_normalisation_never_sees_one_sample_alone(digits: Tensor, count: int) -> None:
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 2)
    )
    result = probe(model, digits[:count], estimator=Cascade(updates=5, batch_size=2))
    assert result.depth == 1


def test_same_seed_same_result(digits: Tensor) -> None:
    one, same, other = (probe(mlp(), digits, estimator=QUICK, seed=seed) for seed in (1, 1, 2))
    assert one == same
    assert one != other


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


def test_held_out_samples_are_spread_evenly() -> None:
    mask = held_out_mask(100, 0.25, torch.device("cpu"))
    assert mask.sum() == 25
    assert mask.reshape(25, 4).sum(dim=1).tolist() == [1] * 25
    assert held_out_mask(16, 0.01, torch.device("cpu")).sum() == 2


def test_order_of_the_samples_does_not_decide(digits: Tensor) -> None:
    """The first batches lie within [−1, 1], later ones do not."""
    inputs = torch.cat([0.9 * digits[:200], 8 * digits[200:600]])
    result = probe(mlp(depth=1, width=64), inputs, estimator=Cascade(updates=400))
    assert result.retained[0] > 0.3


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
