from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from recent_prune.probe import Cascade, probe, relative_entropy
from recent_prune.probe.reconstructing import cascade as cascade_module
from recent_prune.probe.reconstructing import reconstruction_stack
from recent_prune.probe.reconstructing.cascade import cascade, held_out_mask
from recent_prune.probe.reconstructing.chain import Chain
from recent_prune.probe.reconstructing.fitting import bound, fit
from recent_prune.probe.reconstructing.reconstruction_layer import ReconstructionLayer
from recent_prune.probe.reconstructing.reconstruction_stack import stacked
from recent_prune.rules import SaturationRule, TrainabilityRule
from tests.conftest import Reference
from tests.networks import Residual, cnn, mlp

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
