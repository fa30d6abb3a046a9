"""Each time step of a recurrent layer by itself, where it is asked for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from recent_prune.probe import probe
from recent_prune.probe.batches.view import View
from recent_prune.probe.watching.names import name_of_steps

STEPS = 8
KINDS = [nn.RNN, nn.GRU, nn.LSTM]


class Tapped(nn.Module):
    """Rows of an image as a sequence; every step of the last layer passes a module of its own."""

    def __init__(self, kind: Any, layers: int, both: bool, batch_first: bool = True) -> None:
        super().__init__()
        self.body = kind(8, 16, layers, batch_first=batch_first, bidirectional=both)
        self.taps = nn.ModuleList(nn.Identity() for _ in range(STEPS))
        self.head = nn.Linear(16 * (1 + both), 10)
        self.batch_first = batch_first

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(1, 2)
        output = self.body(rows if self.batch_first else rows.transpose(0, 1))[0]
        steps = (output if self.batch_first else output.transpose(0, 1)).unbind(1)
        tapped = [tap(step) for tap, step in zip(self.taps, steps, strict=True)]
        return self.head(tapped[-1])  # type: ignore[no-any-return]


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_steps_are_those_of_modules_behind_each(
    kind: Any, layers: int, both: bool, batch_first: bool, digits: Tensor
) -> None:
    model = Tapped(kind, layers, both, batch_first)
    steps = probe(model, digits[:60], layers=["body.steps"])
    tapped = probe(model, digits[:60], layers=[f"taps.{i}" for i in range(STEPS)])
    assert steps.layers == tuple(f"body.step{i + 1}" for i in range(STEPS))
    assert steps.retained == pytest.approx(tapped.retained, abs=1e-5)
    assert steps.activation_rms == pytest.approx(tapped.activation_rms, rel=1e-5)


def test_steps_of_an_inner_layer_are_those_of_a_shorter_stack(digits: Tensor) -> None:
    model, shorter = Tapped(nn.LSTM, 3, True), Tapped(nn.LSTM, 2, True)
    state = model.state_dict()
    shorter.load_state_dict({name: state[name] for name in shorter.state_dict()})
    inner = probe(model, digits[:60], layers=["body.layer2.steps"])
    whole = probe(shorter, digits[:60], layers=["body.steps"])
    assert inner.layers == tuple(f"body.layer2.step{i + 1}" for i in range(STEPS))
    assert inner.retained == pytest.approx(whole.retained, abs=1e-5)


def test_later_steps_know_more_of_the_sequence(digits: Tensor) -> None:
    steps = probe(Tapped(nn.LSTM, 1, False), digits, layers=["body.steps"])
    assert steps.retained[5] > steps.retained[2] > steps.retained[0] > 0


def test_single_steps_and_other_layers_can_be_asked_for(digits: Tensor) -> None:
    model = Tapped(nn.GRU, 1, False)
    every = probe(model, digits[:60], layers=["body.steps"])
    some = probe(model, digits[:60], layers=["body.step3", "taps.7"])
    assert some.layers == ("body.step3", "taps.7")
    assert some.retained == pytest.approx((every.retained[2], every.retained[7]), abs=1e-5)


class Packing(nn.Module):
    """Takes sequences with their lengths, and packs them."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.LSTM(8, 16, batch_first=True)
        self.head = nn.Linear(16, 2)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return self.head(self.body(packed)[1][0][-1])  # type: ignore[no-any-return]


@pytest.mark.parametrize("shortest", [[5, 5], [3, 6]])
def test_steps_end_where_the_shortest_sequence_does(shortest: list[int]) -> None:
    batches = []
    for least in shortest:
        lengths = least + torch.arange(20) % 3
        batches.append({"x": torch.randn(20, int(lengths.max()), 8), "lengths": lengths})
    steps = probe(Packing(), batches, layers=["body.steps"])
    assert steps.layers == tuple(f"body.step{i + 1}" for i in range(min(shortest)))


class Masked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.GRU(8, 16, batch_first=True), nn.Linear(16, 2)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.head(self.body(x)[0].mean(1))  # type: ignore[no-any-return]


def test_steps_that_are_padding_in_any_sample_are_left_out() -> None:
    mask = torch.arange(7) >= (torch.arange(40) % 3)[:, None]  # padded on the left
    batch = {"x": torch.randn(40, 7, 8), "mask": mask}
    steps = probe(Masked(), [batch], layers=["body.steps"])
    assert steps.layers == tuple(f"body.step{i}" for i in range(3, 8))


def test_view_of_steps() -> None:
    sequences = torch.randn(5, 4, 3)
    steps = View(5).steps(sequences, sequences)
    assert list(steps) == [1, 2, 3, 4]
    assert torch.equal(steps[2], sequences[:, 1])
    lengths = torch.tensor([4, 2, 3, 2, 4])
    packed = pack_padded_sequence(sequences, lengths, batch_first=True, enforce_sorted=False)
    assert isinstance(packed, PackedSequence)
    found = View(5).steps((packed, None), packed.data)
    assert list(found) == [1, 2]
    assert torch.equal(found[2], pad_packed_sequence(packed, batch_first=True)[0][:, 1])
    assert View(5).steps(sequences[:, 0], sequences[:, 0]) == {}
    assert View(9).steps(sequences, sequences) == {}


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("lstm.steps", "lstm"),
        ("lstm.step12", "lstm"),
        ("a.layer1.steps", "a.layer1"),
        ("lstm.step0", None),
        ("lstm.stepper", None),
        ("steps", None),
    ],
)
def test_names_of_steps(name: str, owner: str | None) -> None:
    assert name_of_steps(name) == owner


class Stepping(nn.Module):
    """Its module is called like a step."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.ModuleDict({"step1": nn.GRU(8, 16, batch_first=True)})
        self.head = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        output = self.body["step1"](x.flatten(1, 2))[0]
        return self.head(output[:, -1])  # type: ignore[no-any-return]


def test_a_module_that_is_called_like_a_step_is_that_module(digits: Tensor) -> None:
    model = Stepping()
    assert probe(model, digits[:60], layers=["body.step1"]).layers == ("body.step1",)
    steps = probe(model, digits[:60], layers=["body.step1.steps"])
    assert steps.layers[-1] == f"body.step1.step{STEPS}"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("body.step0", r"or 'input of NAME', 'NAME.steps'\), but got \['body.step0'\]"),
        ("nobody.steps", r"or 'input of NAME', 'NAME.steps'\), but got \['nobody.steps'\]"),
        ("head.steps", r"names \['head.steps'\], .* no sequences that all samples have them of"),
        (f"body.step{STEPS + 1}", "no sequences that all samples have them of"),
    ],
)
def test_steps_that_are_not_there_are_refused(name: str, message: str, digits: Tensor) -> None:
    with pytest.raises(ValueError, match=message):
        probe(Tapped(nn.LSTM, 1, False), digits[:60], layers=[name])
