from __future__ import annotations

import pytest
import torch
from torch import nn

import recent_prune as rp
from recent_prune import networks


def test_variances_of_the_initialization() -> None:
    model = networks.mlp(400, 10, depth=3, width=500, weight_variance=2.0, bias_variance=0.3)
    model.requires_grad_(False)
    hidden = model.hidden2
    assert hidden.weight.var() * 500 == pytest.approx(2.0, rel=0.02)  # type: ignore[union-attr, operator]
    assert hidden.bias.var() == pytest.approx(0.3, rel=0.2)  # type: ignore[union-attr, operator]
    assert model.hidden1.weight.var() * 400 == pytest.approx(2.0, rel=0.02)  # type: ignore[union-attr, operator]


def test_the_seed_decides_and_the_global_random_state_does_not() -> None:
    def weights(seed: int) -> torch.Tensor:
        return next(networks.mlp(4, 2, depth=1, width=3, seed=seed).parameters())

    state = torch.get_rng_state()
    torch.testing.assert_close(weights(1), weights(1), rtol=0, atol=0)
    assert not torch.equal(weights(1), weights(2))
    assert torch.equal(torch.get_rng_state(), state)


def test_images_are_flattened_and_outputs_are_logits() -> None:
    model = networks.mlp(12, 5, depth=2, width=3, activation="relu")
    assert model(torch.rand(7, 3, 4)).shape == (7, 5)
    assert [name for name, _ in model.named_children()] == [
        "flatten",
        "hidden1",
        "relu1",
        "hidden2",
        "relu2",
        "head",
    ]


def test_refuses_bad_arguments() -> None:
    with pytest.raises(ValueError, match="`depth` must be at least 1, but got 0"):
        networks.mlp(4, 2, depth=0, width=3)
    with pytest.raises(ValueError, match=r"`activation` must be one of \['tanh', .*but got 'x'"):
        networks.mlp(4, 2, depth=1, width=3, activation="x")
    with pytest.raises(ValueError, match="`weight_variance` must be ≥ 0, but got -1"):
        networks.mlp(4, 2, depth=1, width=3, weight_variance=-1)


def test_without_a_seed_the_global_random_state_decides() -> None:
    def weights() -> torch.Tensor:
        torch.manual_seed(3)
        return next(networks.mlp(4, 2, depth=1, width=3, seed=None).parameters())

    assert torch.equal(weights(), weights())
    torch.manual_seed(4)
    other = next(networks.mlp(4, 2, depth=1, width=3, seed=None).parameters())
    assert not torch.equal(weights(), other)


class TestConvolutional:
    def test_shapes_and_names(self) -> None:
        model = networks.cnn((3, 12, 12), 10, depth=5, channels=4)
        assert model(torch.rand(2, 3, 12, 12)).shape == (2, 10)
        names = [name for name, _ in model.named_children()]
        assert names[:4] == ["conv1", "tanh1", "conv2", "tanh2"]
        assert names[-2:] == ["flatten", "head"]
        assert model.get_submodule("head").weight.shape == (10, 36)  # strided twice

    def test_variances_of_the_initialization(self) -> None:
        model = networks.cnn(
            (1, 8, 8), 10, depth=4, channels=64, weight_variance=2.0, bias_variance=0.3
        )
        weight, bias = model.conv4.weight.detach(), model.conv4.bias.detach()  # type: ignore[union-attr, operator]
        assert float(weight.var()) * 64 * 9 == pytest.approx(2.0, rel=0.05)
        assert float(bias.var()) == pytest.approx(0.3, rel=0.5)

    def test_blocks_add_their_input(self) -> None:
        model = networks.resnet((1, 8, 8), 10, blocks=2, channels=4, weight_variance=0.0)
        assert model(torch.rand(2, 1, 8, 8)).shape == (2, 10)
        x = torch.rand(2, 4, 2, 2)
        same = model.get_submodule("block1")(x) - torch.tanh(x)
        assert float(same.detach().abs().max()) < 0.1  # the biases alone

    def test_the_paper_s_cascade_reads_both(self) -> None:
        images, estimator = torch.rand(80, 1, 8, 8), rp.Cascade(updates=3)
        plain = networks.cnn((1, 8, 8), 10, depth=4, channels=4)
        assert rp.probe(plain, images, estimator=estimator).layers[-1] == "flatten"
        blocks = networks.resnet((1, 8, 8), 10, blocks=2, channels=4)
        assert rp.probe(blocks, images, estimator=estimator).depth == 5

    def test_too_shallow(self) -> None:
        with pytest.raises(ValueError, match="`depth` must be at least 3, but got 2"):
            networks.cnn((1, 8, 8), 10, depth=2)
        with pytest.raises(ValueError, match="`blocks` must be at least 1, but got 0"):
            networks.resnet((1, 8, 8), 10, blocks=0)


def test_widths_of_their_own() -> None:
    model = networks.mlp(12, 3, depth=3, width=(9, 7, 5))
    shapes = [tuple(m.weight.shape) for m in model if isinstance(m, nn.Linear)]
    assert shapes == [(9, 12), (7, 9), (5, 7), (3, 5)]
    with pytest.raises(ValueError, match="`width` must have 3 sizes, one a layer, but got 2"):
        networks.mlp(12, 3, depth=3, width=(9, 7))
