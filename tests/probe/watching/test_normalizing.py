from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import recent_prune as rp
from tests.networks import Noisy, mlp

Function = Callable[[Tensor], Tensor]


def by_deviation(h: Tensor) -> Tensor:
    return h / h.std(dim=1, keepdim=True)


def by_variance(h: Tensor) -> Tensor:
    variance, mean = torch.var_mean(h, -1, keepdim=True)
    return (h - mean) * torch.reciprocal(variance.add(1e-5).sqrt())


def by_squares(h: Tensor) -> Tensor:
    mean = h.mean(-1, keepdim=True)
    return (h - mean) * (((h - mean) ** 2).mean(-1, keepdim=True) + 1e-5) ** -0.5


def over_the_batch(h: Tensor) -> Tensor:
    return (h - h.mean(0)) / (h.std(0) + 1e-5)


def by_root_mean_square(h: Tensor) -> Tensor:
    return h / (h.pow(2).mean(-1, keepdim=True).sqrt() + 1e-8)


def by_length(h: Tensor) -> Tensor:
    length: Tensor = h.norm(dim=-1, keepdim=True)
    return h / (length / math.sqrt(h.shape[-1]))


def by_one_number(h: Tensor) -> Tensor:
    return h * (1 / h.std())


def softmax(h: Tensor) -> Tensor:
    shares = h.exp()
    return shares / shares.sum(-1, keepdim=True)


def gated(h: Tensor) -> Tensor:
    return h * torch.sigmoid(h.mean(-1, keepdim=True))


def centred(h: Tensor) -> Tensor:
    return h - h.mean(-1, keepdim=True)


def scaled_up(h: Tensor) -> Tensor:
    return h * h.std(-1, keepdim=True)


def of_unit_length(h: Tensor) -> Tensor:
    length: Tensor = h.norm(dim=-1, keepdim=True)
    return h / length


class Scaling(nn.Module):
    """What its layers give goes through a function."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(64, 32), nn.Linear(32, 32)
        self.last, self.function = nn.Linear(32, 10), function

    def forward(self, x: Tensor) -> Tensor:
        h = self.scaled(self.first(x.flatten(1)))
        return self.last(self.scaled(self.second(torch.tanh(h))))  # type: ignore[no-any-return]

    def scaled(self, h: Tensor) -> Tensor:
        assert h.mean is not None  # code that names what a scale could be made of
        return self.function(h)


class OfInputs(Scaling):
    def forward(self, x: Tensor) -> Tensor:
        x = (x.flatten(1) - x.mean()) / x.std()
        return self.last(self.second(self.first(x)))  # type: ignore[no-any-return]


class OfWeights(Scaling):
    """Weights are standardized, and divided by their number."""

    def forward(self, x: Tensor) -> Tensor:
        h = x.flatten(1)
        for weight in (self.first.weight, self.second.weight):
            deviation = weight.std(1, keepdim=True) * math.sqrt(weight.shape[1])
            standard = (weight - weight.mean(1, keepdim=True)) / deviation
            h = torch.relu(nn.functional.linear(h, standard))
        return self.last(h)  # type: ignore[no-any-return]


NORMALISES = [
    by_deviation,
    by_variance,
    by_squares,
    over_the_batch,
    by_root_mean_square,
    by_length,
    by_one_number,
]
OTHERS = [softmax, gated, centred, scaled_up, of_unit_length]


@pytest.mark.parametrize("function", [*NORMALISES, *OTHERS])
def test_known_by_what_it_does(function: Function, digits: Tensor) -> None:
    expected = function in NORMALISES
    assert rp.probe(Scaling(function), digits).normalized == expected
    pairs = [(digits[:80], torch.zeros(80)), (digits[80:160], torch.zeros(80))]
    called = rp.probe(Scaling(function), pairs, call=lambda model, pair: model(pair[0]))
    assert called.normalized == expected


@pytest.mark.parametrize("function", [by_root_mean_square, by_deviation, softmax])
def test_many_at_once(function: Function, digits: Tensor) -> None:
    many = rp.probe_many([Scaling(function) for _ in range(3)], digits, progress=False)
    told = [isinstance(one, rp.ProbeResult) and one.normalized for one in many]
    assert told == [function in NORMALISES] * 3


def test_inputs_are_no_activations_and_weights_count(digits: Tensor) -> None:
    assert not rp.probe(OfInputs(centred), digits).normalized
    assert rp.probe(OfWeights(centred), digits).normalized


def test_what_the_probe_computes_is_not_the_models(digits: Tensor) -> None:
    class Named(nn.Sequential):
        def unused(self, x: Tensor) -> Tensor:
            return x / x.std()

    assert not rp.probe(Named(*mlp().children()), digits).normalized


def test_normalisation_is_noticed(digits: Tensor) -> None:
    assert not rp.probe(mlp(), digits).normalized
    assert rp.probe(Noisy(), digits).normalized
    weight_norm = nn.utils.parametrizations.weight_norm(nn.Linear(64, 10))
    assert not rp.probe(nn.Sequential(nn.Flatten(), weight_norm), digits).normalized


class OfFunctions(nn.Module):
    """A layer of it is followed by a function."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(64, 32), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.scaled(self.first(x.flatten(1)))))  # type: ignore[no-any-return]

    def scaled(self, h: Tensor) -> Tensor:
        return h


class ByFunction(OfFunctions):
    def scaled(self, h: Tensor) -> Tensor:
        return nn.functional.layer_norm(h, (32,))


class ByHand(OfFunctions):
    def scaled(self, h: Tensor) -> Tensor:
        return h * torch.rsqrt(h.square().mean(dim=-1, keepdim=True) + 1e-6)


def of_unit_size(h: Tensor) -> Tensor:
    return h * (h.square().mean(dim=-1, keepdim=True) + 1e-6).rsqrt()


class ByHelper(OfFunctions):
    def scaled(self, h: Tensor) -> Tensor:
        return of_unit_size(h)


class Inherited(ByHelper):
    pass


class Decorated(OfFunctions):
    @staticmethod
    def scale(h: Tensor) -> Tensor:
        return nn.functional.rms_norm(h, (32,))

    @torch.no_grad()
    def scaled(self, h: Tensor) -> Tensor:
        return self.scale(h)


@pytest.mark.parametrize("kind", [ByFunction, ByHand, ByHelper, Inherited, Decorated])
def test_normalisation_by_functions_is_noticed(kind: type[OfFunctions], digits: Tensor) -> None:
    assert rp.probe(kind(), digits).normalized
    assert not rp.probe(OfFunctions(), digits).normalized
    stacked = rp.probe_many([kind() for _ in range(3)], digits, progress=False)
    assert [isinstance(one, rp.ProbeResult) and one.normalized for one in stacked] == [True] * 3


class NormalMLP(nn.Sequential):
    """Named after a distribution."""


def test_a_name_does_not_make_a_normalisation(digits: Tensor) -> None:
    class MyNorm(nn.Identity):
        pass

    class Normalize(nn.Identity):
        pass

    assert not rp.probe(NormalMLP(*mlp().children()), digits).normalized
    for norm in (MyNorm(), Normalize()):
        assert rp.probe(nn.Sequential(*mlp().children(), norm), digits).normalized
