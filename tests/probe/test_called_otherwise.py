"""Models and batches that the conventions alone would have got wrong."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import recent_prune as rp

BATCH = 32


@pytest.fixture
def batches(digits: Tensor) -> list[tuple[Tensor, Tensor]]:
    rows = digits[: 5 * BATCH].flatten(1)
    return [(part, torch.arange(BATCH) % 10) for part in rows.split(BATCH)]


def body(features: int = 64) -> nn.Sequential:
    return nn.Sequential(nn.Linear(features, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh())


def training(model: nn.Module, loss: Any = F.cross_entropy, rate: float = 0.05) -> rp.Training:
    return rp.Training(loss, torch.optim.SGD(model.parameters(), rate), budget=200)


def probed(
    model: nn.Module, batches: Any, trained: bool, loss: Any = F.cross_entropy
) -> rp.ProbeResult:
    return rp.probe(model, batches, training=training(model, loss) if trained else None)


class OneOfTwo(nn.Module):
    """Takes either of two inputs, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.picture, self.head = nn.Linear(64, 32), body(), nn.Linear(32, 10)

    def forward(self, text: Tensor | None = None, image: Tensor | None = None) -> Tensor:
        hidden = torch.zeros(1, 32)
        if text is not None:
            hidden = hidden + 0 * self.words(text)
        if image is not None:
            hidden = hidden + self.picture(image)
        return self.head(hidden)  # type: ignore[no-any-return]


class ByKeyword(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = body(), nn.Linear(32, 10)

    def forward(self, *, pixels: Tensor) -> Tensor:
        return self.head(self.body(pixels))  # type: ignore[no-any-return]


@pytest.mark.parametrize(("kind", "name"), [(OneOfTwo, "image"), (ByKeyword, "pixels")])
@pytest.mark.parametrize("trained", [False, True])
def test_one_tensor_goes_in_by_its_name(
    kind: type[nn.Module], name: str, trained: bool, batches: list[tuple[Tensor, Tensor]]
) -> None:
    model, named = kind(), [{name: x, "label": y} for x, y in batches]
    result = probed(model, named, trained)
    assert (result.inputs, result.constant_output) == ((name,), False)
    assert rp.TrainabilityRule()(result).trainable


def test_both_of_a_pair_are_inputs_of_what_compares_them(
    batches: list[tuple[Tensor, Tensor]],
) -> None:
    encoder = nn.Sequential(body(), nn.Linear(32, 8))
    pairs = [(x, x + 0.1 * torch.rand_like(x)) for x, _ in batches]
    result = rp.probe(encoder, pairs, call=lambda model, pair: (model(pair[0]), model(pair[1])))
    assert result.inputs == ("0", "1")
    assert min(result.retained) > 0.1
    assert rp.TrainabilityRule()(result).trainable


class Gated(nn.Module):
    def __init__(self, shape: tuple[int, ...], first: float = 0.0) -> None:
        super().__init__()
        self.body, self.head = body(), nn.Linear(32, 10)
        self.gate = nn.Parameter(torch.full(shape, first))

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.gate) * self.head(self.body(x))  # type: ignore[no-any-return]


@pytest.mark.parametrize("shape", [(), (1,), (10,)])
def test_a_gate_that_starts_closed_is_kept(
    shape: tuple[int, ...], batches: list[tuple[Tensor, Tensor]]
) -> None:
    result = rp.probe(Gated(shape), batches)
    assert (result.zeroed, result.constant_output) == (True, True)
    verdict = rp.TrainabilityRule()(result)
    assert verdict.trainable
    assert "give `training` to judge it by its first steps" in verdict.reason
    assert not rp.probe(Gated(shape, 1.0), batches).zeroed
    rows = torch.cat([x for x, _ in batches])
    many = rp.probe_many([Gated(shape) for _ in range(2)], rows, progress=False)
    assert [isinstance(one, rp.ProbeResult) and one.zeroed for one in many] == [True, True]


def test_what_is_dead_without_a_gate_stays_condemned(batches: list[tuple[Tensor, Tensor]]) -> None:
    dead = nn.Sequential(body(), nn.Linear(32, 10))
    for parameter in dead.parameters():
        nn.init.zeros_(parameter)
    assert rp.TrainabilityRule()(rp.probe(dead, batches)).cause == "dead"


class Steps(nn.Module):
    """A layer for each eighth of a sample, on the samples' axis."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = body(8), nn.Linear(8 * 32, 10)

    def forward(self, x: Tensor) -> Tensor:
        steps = self.body(x.reshape(8 * len(x), 8))
        return self.head(steps.reshape(len(x), -1))  # type: ignore[no-any-return]


@pytest.mark.parametrize("trained", [False, True])
def test_merged_axes_of_one_tensor_are_taken_apart(
    trained: bool, batches: list[tuple[Tensor, Tensor]]
) -> None:
    model = Steps()
    result = probed(model, batches, trained)
    assert result.layers == ("body.1", "input of head")
    assert (result.unseen, result.notes) == ((), ())


class FixedSize(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = body(), nn.Linear(32, 10)
        self.register_buffer("state", torch.zeros(BATCH, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x) + self.state)  # type: ignore[no-any-return]


@pytest.mark.parametrize("trained", [False, True])
def test_a_model_of_one_batch_size_gets_batches_as_they_are(
    trained: bool, batches: list[tuple[Tensor, Tensor]]
) -> None:
    model = FixedSize()
    result = probed(model, batches, trained)
    (note,) = result.notes
    assert note.startswith("It was probed in batches as they are, since otherwise it raised")
    assert rp.TrainabilityRule()(result).trainable


class OwnLoss(FixedSize):
    def forward(self, x: Tensor, y: Tensor | None = None) -> Any:
        output = super().forward(x)
        return output if y is None else {"loss": F.cross_entropy(output, y), "logits": output}


def test_so_does_one_that_returns_its_own_loss(batches: list[tuple[Tensor, Tensor]]) -> None:
    (note,) = probed(OwnLoss(), batches, trained=True, loss=None).notes
    assert note.startswith("It was probed in batches as they are, since otherwise it raised")


@dataclass
class Said:
    hidden: Tensor
    logits: Tensor


class Saying(nn.Module):
    def __init__(self, say: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.body, self.head, self.say = body(), nn.Linear(32, 10), say

    def forward(self, x: Tensor) -> Any:
        hidden = self.body(x)
        return self.say(hidden, self.head(hidden))


def of_hidden(output: Any, target: Tensor) -> Tensor:
    return F.cross_entropy(output["logits"], target) + output["hidden"].square().mean()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("say", "loss", "known"),
    [
        (lambda h, o: {"logits": o}, lambda o, t: F.cross_entropy(o["logits"], t), True),
        (
            lambda h, o: {"hidden": h, "logits": o},
            lambda o, t: F.cross_entropy(o["logits"], t),
            True,
        ),
        (lambda h, o: (o, h), lambda o, t: F.cross_entropy(o[0], t), True),
        (Said, lambda o, t: F.cross_entropy(o.logits, t), True),
        (lambda h, o: {"hidden": h, "logits": o}, of_hidden, False),
    ],
)
def test_constant_predictions_come_in_the_outputs_form(
    say: Any, loss: Any, known: bool, batches: list[tuple[Tensor, Tensor]]
) -> None:
    model, plain = Saying(say), nn.Sequential(body(), nn.Linear(32, 10))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        steps = rp.probe(model, batches, training=training(model, loss)).steps
    reference = rp.probe(plain, batches, training=training(plain)).steps
    assert steps is not None
    assert reference is not None
    expected = reference.constant_loss if known else float("nan")
    assert steps.constant_loss == pytest.approx(expected, nan_ok=True)


class Nodes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = body(), nn.Linear(32, 10)

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor) -> Tensor:
        return self.head(self.body(x[edge_index[0]] + batch))  # type: ignore[no-any-return]


@pytest.mark.parametrize("trained", [False, True])
def test_an_error_of_a_misfit_shows_the_signature_and_what_to_write(
    trained: bool, batches: list[tuple[Tensor, Tensor]]
) -> None:
    model = Nodes()
    with pytest.raises(TypeError, match="missing 2 required") as caught:
        probed(model, batches, trained)
    notes = " ".join(caught.value.__notes__)
    assert "The model is called as Nodes(x: " in notes
    assert "say how with a batch, call=lambda model, batch: model(…)." in notes


def test_an_error_of_the_loss_tells_what_it_got(batches: list[tuple[Tensor, Tensor]]) -> None:
    model = nn.Sequential(body(), nn.Linear(32, 10))
    with pytest.raises(ValueError, match="batch_size") as caught:
        rp.probe(model, [(x, y[:16]) for x, y in batches], training=training(model))
    notes = " ".join(caught.value.__notes__)
    assert "It got a tensor of shape (32, 10), torch.float32, and a tensor of shape (16,)" in notes


def test_nested_tensors_are_refused_with_a_way_out() -> None:
    parts = [torch.rand(3, 8), torch.rand(4, 8)]
    nested = torch.nested.nested_tensor(parts, layout=torch.jagged)
    with pytest.raises(TypeError, match=r"holds a nested tensor.*to_padded_tensor"):
        rp.probe(body(8), [(nested, torch.zeros(2))] * 16)


@pytest.mark.parametrize("target", [torch.rand(3), torch.rand(3, 4)])
def test_samples_with_targets_of_their_own_length_are_no_batches(target: Tensor) -> None:
    with pytest.raises(ValueError, match="looks like a single sample: give a DataLoader"):
        rp.probe(body(8), [(torch.rand(8, 8), target) for _ in range(40)])


def test_a_call_may_give_the_target_with_the_output(batches: list[tuple[Tensor, Tensor]]) -> None:
    model, named = (
        nn.Sequential(body(), nn.Linear(32, 10)),
        [{"pixels": x, "cls": y} for x, y in batches],
    )

    def call(model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        return model(batch["pixels"]), batch["cls"]

    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    told = rp.Training(F.cross_entropy, optimizer, budget=200, call=call)
    steps = rp.probe(model, named, training=told).steps
    usual = rp.probe(model, batches, training=training(model)).steps
    assert steps is not None
    assert usual is not None
    assert steps.losses == usual.losses
    assert steps.constant_loss == usual.constant_loss


@pytest.mark.parametrize("trained", [False, True])
def test_what_was_compiled_in_place_runs_as_it_is_written(
    trained: bool, batches: list[tuple[Tensor, Tensor]]
) -> None:
    def compiled(*_: Any, **__: Any) -> Any:
        raise AssertionError("compiled")

    model = nn.Sequential(body(), nn.Linear(32, 10))
    model._compiled_call_impl = compiled  # as `model.compile()` does
    result = probed(model, batches, trained)
    assert rp.TrainabilityRule()(result).trainable
    assert model._compiled_call_impl is compiled
    many = rp.probe_many([model], torch.cat([x for x, _ in batches]), progress=False)
    assert isinstance(many[0], rp.ProbeResult)


class SkipGram(nn.Module):
    """Returns its loss, and has no hidden layer."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.contexts = nn.Embedding(50, 16), nn.Embedding(50, 16)

    def forward(self, words: Tensor, near: Tensor, far: Tensor) -> Tensor:
        own = self.words(words)
        near = (own * self.contexts(near)).sum(-1)
        far = (own[:, None] * self.contexts(far)).sum(-1)
        loss: Tensor = -(F.logsigmoid(near) + F.logsigmoid(-far).sum(-1)).mean()
        return loss


@pytest.mark.parametrize(("rate", "cause"), [(1e-9, "stalls"), (0.01, None), (1e5, "non-finite")])
def test_the_steps_tell_of_what_returns_its_loss_and_has_no_hidden_layer(
    rate: float, cause: str | None
) -> None:
    draw = torch.Generator().manual_seed(0)
    pairs = [
        tuple(torch.randint(50, shape, generator=draw) for shape in ((64,), (64,), (64, 4)))
        for _ in range(8)
    ]
    model = SkipGram()
    optimizer = torch.optim.SGD(model.parameters(), rate)
    training = rp.Training(None, optimizer, call=lambda m, batch: m(*batch), budget=300)
    result = rp.probe(model, pairs, training=training)
    assert result.layers == ("output",)
    assert rp.TrainabilityRule()(result).cause == cause
