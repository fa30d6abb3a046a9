from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import recent_prune as rp
from recent_prune.probe.watching.applying import applied_layers

WIDTH = 24

Apply = Callable[[Tensor, Tensor], Tensor]


def by_matmul(x: Tensor, w: Tensor) -> Tensor:
    return x @ w.T


def by_reversed(x: Tensor, w: Tensor) -> Tensor:
    return (w @ x.T).T.contiguous()


def by_addmm_reversed(x: Tensor, w: Tensor) -> Tensor:
    return torch.addmm(torch.zeros(len(w), 1), w, x.T).T.contiguous()


def by_einsum(x: Tensor, w: Tensor) -> Tensor:
    return torch.einsum("ni,oi->no", x, w)


def by_addmm(x: Tensor, w: Tensor) -> Tensor:
    return torch.addmm(torch.zeros(1, len(w)), x, w.transpose(0, 1))


def by_bmm(x: Tensor, w: Tensor) -> Tensor:
    return torch.bmm(x[:, None], w.T.expand(len(x), -1, -1))[:, 0]


def by_convolution(x: Tensor, w: Tensor) -> Tensor:
    return F.conv1d(x[:, :, None], w[:, :, None])[:, :, 0]


def names_of(model: nn.Module) -> list[str]:
    return [layer.name for layer in applied_layers(model)]


class Loose(nn.Module):
    """A network without a module for its layers."""

    def __init__(self, apply: Apply = F.linear, *, gain: float = 1.0, depth: int = 4) -> None:
        super().__init__()
        self.apply_weight = apply
        self.first = nn.Parameter(gain * torch.randn(WIDTH, 64) / 8)
        inner = [gain * torch.randn(WIDTH, WIDTH) / WIDTH**0.5 for _ in range(depth)]
        self.inner = nn.ParameterList(map(nn.Parameter, inner))
        self.bias = nn.Parameter(torch.zeros(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        h = F.linear(x.flatten(1), self.first, self.bias)
        for weight in self.inner:
            h = self.apply_weight(torch.tanh(h), weight)
        return h


def twin(loose: Loose) -> nn.Sequential:
    """The same with modules."""
    layers: list[nn.Module] = [nn.Flatten()]
    weights = [loose.first, *loose.inner]
    for weight in weights:
        linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        linear.weight.data.copy_(weight.data)
        layers += [linear, nn.Tanh()]
    return nn.Sequential(*layers[:-1])


class Block(nn.Module):
    """Both weights of a block in one module."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Parameter(torch.randn(64, 32) / 8)
        self.down = nn.Parameter(torch.randn(32, 16) / 6)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x @ self.up) @ self.down


@pytest.mark.parametrize(
    "apply",
    [
        F.linear,
        by_matmul,
        by_reversed,
        by_einsum,
        by_addmm,
        by_addmm_reversed,
        by_bmm,
        by_convolution,
    ],
)
def test_it_has_the_profile_of_the_same_network_of_modules(digits: Tensor, apply: Apply) -> None:
    model = Loose(apply)
    found, known = rp.probe(model, digits[:256]), rp.probe(twin(model), digits[:256])
    assert found.layers == tuple(f"input of inner.{number}" for number in range(4))
    assert found.retained == pytest.approx(known.retained, abs=0.01)


@pytest.mark.parametrize("samples", [256, WIDTH])
def test_activations_may_have_their_samples_as_columns(digits: Tensor, samples: int) -> None:
    class Columns(Loose):
        def forward(self, x: Tensor) -> Tensor:
            h = self.first @ x.flatten(1).T
            for weight in self.inner:
                h = weight @ torch.tanh(h)
            return h.T

    model = Columns()
    found, known = (rp.probe(m, digits[:samples]) for m in (model, twin(model)))
    assert found.layers == tuple(f"input of inner.{number}" for number in range(4))
    assert found.retained == pytest.approx(known.retained, abs=0.01)


def test_what_dies_between_loose_weights_is_seen(digits: Tensor) -> None:
    rule = rp.TrainabilityRule()
    verdict = rule(rp.probe(Loose(gain=0.05, depth=12), digits[:256]))
    assert verdict.cause == "dead"
    assert rule(rp.probe(Loose(gain=1.5, depth=12), digits[:256])).trainable


def test_weights_stay_weights_when_something_is_computed_from_them(digits: Tensor) -> None:
    class Masked(Loose):
        def forward(self, x: Tensor) -> Tensor:
            h = x.flatten(1) @ self.first.t()
            for weight in self.inner:
                scaled = weight / weight.norm(dim=1, keepdim=True)
                h = F.linear(h.relu(), torch.where(scaled > 0.1, scaled, 0 * scaled))
            return h

    found = rp.probe(Masked(), digits[:256])
    assert found.layers == tuple(f"input of inner.{number}" for number in range(4))


def test_modules_and_loose_weights_stand_in_their_order(digits: Tensor) -> None:
    model = nn.Sequential(nn.Flatten(), Block(), nn.Linear(16, 64), nn.ReLU(), Block())
    found = rp.probe(model, digits[:256])
    assert found.layers == ("input of 1.down", "1", "3", "input of 4.down")
    assert not found.unseen


def test_it_can_be_asked_for(digits: Tensor) -> None:
    found = rp.probe(Loose(), digits[:256], layers=["input of inner.2", "input of first"])
    assert found.layers == ("input of first", "input of inner.2")
    with pytest.raises(ValueError, match=r"`layers` must name modules .* \['input of inner.9'\]"):
        rp.probe(Loose(), digits[:256], layers=["input of inner.9"])


def test_stacked_they_are_seen_as_one_by_one(digits: Tensor) -> None:
    models = [Loose(gain=gain) for gain in (0.5, 1.0, 2.0)]
    together = list(rp.probe_many(models, digits[:256]))
    alone = [rp.probe(model, digits[:256]) for model in models]
    for one, other in zip(together, alone, strict=True):
        assert isinstance(one, rp.ProbeResult)
        assert one.layers == other.layers
        assert one.retained == pytest.approx(other.retained, abs=1e-3)


def test_they_are_seen_after_first_steps_with_batches_of_a_loader(digits: Tensor) -> None:
    labels = torch.randint(WIDTH, (256,))
    batches = list(zip(digits[:256].split(32), labels.split(32), strict=True))
    training = rp.Training(F.cross_entropy, lambda p: torch.optim.SGD(p, 0.1), steps=4)
    model = Loose()
    before = [parameter.clone() for parameter in model.parameters()]
    found = rp.probe(model, batches, training=training)
    assert found.layers == tuple(f"input of inner.{number}" for number in range(4))
    assert all(map(torch.equal, before, model.parameters()))


def test_the_weight_of_a_module_that_is_never_called(digits: Tensor) -> None:
    class Borrowing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(64, WIDTH), nn.Linear(WIDTH, WIDTH)
            self.head = nn.Linear(WIDTH, 10)

        def forward(self, x: Tensor) -> Tensor:
            h = F.linear(torch.tanh(self.first(x.flatten(1))), self.second.weight)
            return self.head(F.pad(h, (0, 0)))  # type: ignore[no-any-return]

    model = Borrowing()
    found = rp.probe(model, digits[:256])
    assert found.layers == ("input of second", "input of head")
    assert not found.unseen
    asked = rp.probe(model, digits[:256], layers=["input of second"])
    assert asked.retained == pytest.approx(found.retained[:1], abs=1e-3)


def test_masked_by_a_buffer_it_stays_a_weight(digits: Tensor) -> None:
    class Sparse(Block):
        mask: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mask", (torch.rand(32, 16) < 0.5).float())

        def forward(self, x: Tensor) -> Tensor:
            return F.relu(x.flatten(1) @ self.up) @ (self.down * self.mask)

    assert rp.probe(Sparse(), digits[:256]).layers == ("input of down",)


def test_a_head_that_is_tied_to_an_embedding() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.emb, self.hidden = nn.Embedding(50, 16), nn.Linear(16, 16)

        def forward(self, ids: Tensor) -> Tensor:
            h = torch.tanh(self.hidden(self.emb(ids)))
            return F.linear(h, self.emb.weight)

    found = rp.probe(Tied(), torch.randint(50, (256, 8)))
    assert found.layers == ("input of emb",)


def test_a_name_makes_no_normalisation_of_a_network(digits: Tensor) -> None:
    class NormFreeBlock(Block):
        pass

    model = nn.Sequential(nn.Flatten(), NormFreeBlock(), nn.Linear(16, 10))
    found = rp.probe(model, digits[:256])
    assert found.layers == ("input of 1.down", "1")
    assert not found.normalized


@pytest.mark.parametrize("trunk", ["raw", "list"])
def test_a_head_that_starts_at_zero_is_kept(digits: Tensor, trunk: str) -> None:
    class Headed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            zero = nn.Parameter(torch.zeros(WIDTH, 10))
            first = nn.Parameter(torch.randn(64, WIDTH) / 8)
            if trunk == "list":
                self.both = nn.ParameterList([first, zero])
            else:
                self.first, self.head = first, zero

        def forward(self, x: Tensor) -> Tensor:
            first, head = self.both if trunk == "list" else (self.first, self.head)
            return torch.relu(x.flatten(1) @ first) @ head

    result = rp.probe(Headed(), digits[:256])
    assert result.zeroed
    assert rp.TrainabilityRule()(result).trainable


def test_a_layer_is_seen_once_however_it_applies_its_weight(digits: Tensor) -> None:
    class Padded(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="circular"), self.weight, self.bias)

    model = nn.Sequential(Padded(1, 4, 3), nn.ReLU(), Padded(4, 4, 3), nn.ReLU(), Padded(4, 2, 3))
    assert rp.probe(model, digits[:256]).layers == ("1", "3")


class TestWhichWeights:
    def test_those_of_the_model_of_lists_and_of_modules_with_several(self) -> None:
        assert names_of(Loose(depth=2)) == ["first", "inner.0", "inner.1"]
        assert names_of(nn.Sequential(Block())) == ["0.up", "0.down"]

    def test_not_those_of_modules_that_are_called(self) -> None:
        model = nn.Sequential(nn.Linear(4, 4), nn.LSTM(4, 4), nn.MultiheadAttention(4, 2))
        assert names_of(model) == []
        assert "self_attn" not in names_of(nn.TransformerEncoderLayer(4, 2))

    def test_nor_what_is_added_to_all_samples(self) -> None:
        class Placed(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.token = nn.Parameter(torch.zeros(1, 1, 8))
                self.place = nn.Parameter(torch.zeros(1, 17, 8))

        assert names_of(Placed()) == []
