from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import recent_prune as rp
from recent_prune.probe.batches.calling import Calling
from recent_prune.probe.watching.batchwise import Inputs, observe_called
from recent_prune.probe.watching.observation import Observation
from tests.networks import Compared, Functional, Noisy, Residual, Tokens, cnn, mlp

PROFILES = (
    "relative_entropy",
    "retained",
    "differential_entropy",
    "gram_entropy",
    "activation_rms",
    "relative_variance",
    "jacobian_norm",
)


def by_call(model: nn.Module, batch: Any) -> Any:
    """What a user writes as ``call``."""
    return model(batch)


def observed(
    model: nn.Module, batches: list[Any], perturbed: int = 0, **other: Any
) -> tuple[Observation, Inputs, int]:
    settings = {"samples": None, "layers": None, **other}
    with torch.no_grad():
        return observe_called(model, batches, Calling(), perturbed=perturbed, **settings)


class Stacked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.GRU(8, 16, 2, batch_first=True), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x.flatten(1, 2))[0][:, -1])  # type: ignore[no-any-return]


def straight() -> nn.Module:
    """The input goes into the first layer as it is."""
    return nn.Sequential(
        nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 12), nn.Tanh(), nn.Linear(12, 2)
    )


TOKENS = torch.randint(0, 50, (200, 6), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "build",
    [
        mlp,
        cnn,
        lambda: cnn(batch_norm=True),
        Functional,
        Residual,
        Noisy,
        Stacked,
        straight,
        Tokens,
    ],
)
def test_a_model_of_one_tensor_has_the_same_profile_either_way(
    digits: Tensor, build: Callable[[], nn.Module]
) -> None:
    model = build()
    inputs = digits[:160]
    if isinstance(model, Tokens):
        inputs = TOKENS[:160]
    elif build is straight:
        inputs = inputs[:, 0].flatten(1)[:, 16:24]
    plain, called = rp.probe(model, inputs), rp.probe(model, [inputs], call=by_call)
    assert called.layers == plain.layers
    for name in PROFILES:
        wanted = pytest.approx(getattr(plain, name), rel=1e-3, abs=1e-6, nan_ok=True)
        assert getattr(called, name) == wanted, name
    for name in ("samples", "cutoff", "normalized", "zeroed", "stochastic", "constant_output"):
        assert getattr(called, name) == getattr(plain, name), name
    assert called.redundancy == pytest.approx(plain.redundancy, rel=1e-4)
    assert called.input_rms == pytest.approx(plain.input_rms, rel=1e-6)
    assert called.inputs == (("embedding",) if isinstance(model, Tokens) else ("input",))
    assert called.retained_by_input == (called.retained,)
    assert (plain.inputs, plain.retained_by_input, plain.unseen) == ((), (), called.unseen)


@pytest.mark.parametrize("size", [7, 40, 160])
def test_batches_are_put_together(digits: Tensor, size: int) -> None:
    model, whole = Compared(), digits[:200].flatten(1)
    pairs = list(zip(whole[:160].split(size), whole[40:].split(size), strict=True))
    one, several = rp.probe(model, [(whole[:160], whole[40:])]), rp.probe(model, pairs)
    assert several.layers == one.layers
    assert several.samples == 160
    for name in PROFILES[:-1]:
        assert getattr(several, name) == pytest.approx(getattr(one, name), rel=1e-3, abs=1e-5)
    assert several.jacobian_norm == pytest.approx(one.jacobian_norm, rel=0.5)  # of 7 samples


def test_no_more_samples_than_asked_for() -> None:
    batches = [(torch.rand(10, 8), torch.rand(10, 8)) for _ in range(5)]
    seen, inputs, count = observed(Compared(8), batches, perturbed=4, samples=25)
    assert count == 25
    assert torch.equal(inputs.rows["a"], torch.cat([a for a, _ in batches])[:25])
    (moved,) = {tuple(gram.cross.shape) for gram in seen.grams}
    assert moved == (0, 25)


def test_a_column_that_is_the_same_in_one_batch() -> None:
    class Columns(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.body, self.head = nn.Embedding(9, 8), nn.Linear(16, 8), nn.Linear(8, 2)

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return self.head(self.body(torch.cat([self.words(a), self.words(b)], 1)))  # type: ignore[no-any-return]

    first, second = torch.arange(80) % 9, torch.arange(80) // 9
    first[:40] = 3
    model = Columns()
    whole = rp.probe(model, [(first, second)])
    several = rp.probe(model, [(first[:40], second[:40]), (first[40:], second[40:])])
    assert several.inputs == whole.inputs == ("words", "words#2")
    for found, expected in zip(several.retained_by_input, whole.retained_by_input, strict=True):
        assert found == pytest.approx(expected, abs=1e-3)


class Branches(nn.Module):
    """Layers that only long, or only short, sequences go through."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.long, self.short = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.after_long, self.after_short = nn.Linear(8, 8), nn.Linear(8, 8)
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        length, x = x.shape[1], torch.tanh(self.stem(x)).sum(1) + y
        if length > 5:
            x = x + self.after_long(torch.tanh(self.long(x)))
        else:
            x = x + self.after_short(torch.tanh(self.short(x)))
        return self.head(x)  # type: ignore[no-any-return]


def test_layers_that_are_not_called_in_every_batch_are_named() -> None:
    batches = [(torch.rand(20, t, 8), torch.rand(20, 8)) for t in (9, 4)]
    for several in (batches, batches[::-1]):
        result = rp.probe(Branches(), several)
        assert "input of head" in result.layers
        unseen = {name.removeprefix("input of ") for name in result.unseen}
        assert unseen == {"after_long", "after_short", "short", "long"}


class OfAnyWidth(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([x.mean(1), x.amax(1)], dim=1) @ self.weight


def test_layers_of_unlike_widths_are_named() -> None:
    class Widths(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.any, self.head = nn.Linear(8, 8), OfAnyWidth(), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.any(torch.tanh(self.stem(x)).sum(-1)))  # type: ignore[no-any-return]

    result = rp.probe(Widths(), [torch.rand(30, 5, 8), torch.rand(30, 7, 8)])
    assert result.layers == ("any",)
    assert result.unseen == ("input of any",)


def test_of_two_inputs_both_are_perturbed() -> None:
    """A linear map of both: mean square response ‖W‖² / d, exactly over all directions."""

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.join, self.head = nn.Linear(24, 200), nn.Linear(200, 2)

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return self.head(self.join(torch.cat([a, b], 1)))  # type: ignore[no-any-return]

    model, inputs = Both(), torch.randn(100, 24)
    found = rp.probe(model, [(inputs[:, :16], inputs[:, 16:])]).jacobian_norm[0]
    assert found == pytest.approx(float(model.join.weight.detach().square().sum()) / 200, rel=0.3)


def test_layers_can_be_asked_for() -> None:
    pair = (torch.rand(40, 8), torch.rand(40, 8))
    result = rp.probe(Compared(8), [pair], layers=["second", "first#2", "input of head"])
    assert result.layers == ("second", "first#2", "second#2", "input of head")
    with pytest.raises(ValueError, match=r"`layers` must name modules .* got \['third'\]"):
        rp.probe(Compared(8), [pair], layers=["third"])


def test_all_calls_of_a_shared_layer_are_shown() -> None:
    pair = (torch.rand(40, 8), torch.rand(40, 8))
    result = rp.probe(Compared(8), [pair])
    assert result.inputs == ("a", "b")
    assert result.layers == ("input of second", "input of second#2", "input of head")
    (a, b) = result.retained_by_input
    assert min(a[0], b[1]) > 0.3
    assert max(a[1], b[0]) < 0.05


class Said(nn.Module):
    """Gives what it is told, after two layers."""

    def __init__(self, say: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.first, self.head, self.say = nn.Linear(16, 16), nn.Linear(16, 2), say

    def forward(self, a: Tensor, b: Tensor) -> Any:
        return self.say(self.head(torch.tanh(self.first(torch.cat([a, b], 1)))))


@pytest.mark.parametrize(
    ("say", "constant", "stochastic"),
    [
        (lambda out: out, False, False),
        (lambda out: {"logits": out * 0 + 3}, True, False),
        (lambda out: (out.mean(1) * 0, None), True, False),
        (lambda out: out.mean(), False, False),
        (lambda out: out + torch.rand(2), False, True),
    ],
)
def test_what_comes_out(say: Callable[[Tensor], Any], constant: bool, stochastic: bool) -> None:
    pairs = [(torch.rand(20, 8), torch.rand(20, 8)) for _ in range(2)]
    result = rp.probe(Said(say), pairs)
    assert (result.constant_output, result.stochastic) == (constant, stochastic)


@pytest.mark.parametrize(
    ("say", "share"),
    [
        (lambda out: out, 0),
        (lambda out: torch.where(torch.arange(len(out))[:, None] % 4 == 0, math.inf, out), 0.25),
        (lambda out: {"loss": out.mean() * math.nan, "logits": out}, 1),
        (lambda out: {"loss": out.mean(), "logits": out}, 0),
    ],
)
def test_outputs_that_are_not_finite(say: Callable[[Tensor], Any], share: float) -> None:
    pairs = [(torch.rand(20, 8), torch.rand(20, 8)) for _ in range(2)]
    result = rp.probe(Said(say), pairs)
    assert result.nonfinite_outputs == pytest.approx(share, abs=0.05)
    assert ("Not finite: outputs of" in rp.TrainabilityRule()(result).reason) == (share > 0)
    assert result.nonfinite_layer is None


def test_nothing_to_reconstruct_is_refused() -> None:
    class Weights(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = nn.Parameter(torch.rand(2, 4))

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            chosen = torch.cat([a, b], 1).float()
            return (chosen[:, None] * self.weights).sum(dim=2)

    chosen = torch.rand(40, 2) < 0.5
    with pytest.raises(ValueError, match="`inputs` must hold something to reconstruct"):
        rp.probe(Weights(), [(chosen, ~chosen)])
