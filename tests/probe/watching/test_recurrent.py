from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from recent_prune.probe import probe
from recent_prune.probe.watching.recurrent import inner_outputs
from tests.probe.first_steps.trials import model_state, random_states

N, T, D, H, LAYERS = 6, 5, 3, 4, 3
Kind = type[nn.RNN] | type[nn.LSTM] | type[nn.GRU]
KINDS: list[tuple[Kind, dict[str, Any]]] = [
    (nn.RNN, {}),
    (nn.RNN, {"nonlinearity": "relu", "bias": False}),
    (nn.GRU, {}),
    (nn.LSTM, {}),
    (nn.LSTM, {"proj_size": 2}),
]

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")


def first_layers(kind: Kind, whole: nn.RNNBase, count: int, other: dict[str, Any]) -> nn.RNNBase:
    """A stack of the first layers alone, with copies of their weights."""
    settings = {"batch_first": whole.batch_first, "bidirectional": whole.bidirectional, **other}
    part = kind(D, H, count, **settings)
    part.load_state_dict({name: whole.state_dict()[name] for name in part.state_dict()})
    return part


def states(module: nn.RNNBase) -> Any:
    """An initial state of all layers, as the module takes it."""
    rows = module.num_layers * (2 if module.bidirectional else 1)
    hidden = torch.randn(rows, N, module.proj_size or H)
    return (hidden, torch.randn(rows, N, H)) if isinstance(module, nn.LSTM) else hidden


def of_first_layers(state: Any, rows: int) -> Any:
    if isinstance(state, tuple):
        return tuple(part[:rows] for part in state)
    return None if state is None else state[:rows]


def plain(output: Any) -> Tensor:
    tensor: Tensor = output.data if isinstance(output, PackedSequence) else output
    return tensor


@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("how", ["batch_first", "time_first", "packed"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(("kind", "other"), KINDS)
def test_inner_layers_are_those_of_shorter_stacks(
    kind: Kind, other: dict[str, Any], bidirectional: bool, how: str, with_state: bool
) -> None:
    first = how == "batch_first"
    whole = kind(D, H, LAYERS, batch_first=first, bidirectional=bidirectional, **other)
    inputs: Any = torch.randn(N, T, D) if first else torch.randn(T, N, D)
    if how == "packed":
        sequences = [torch.randn(1 + k % T, D) for k in range(N)]
        inputs = pack_sequence(sequences, enforce_sorted=False)
    state = states(whole) if with_state else None
    found = inner_outputs(whole, inputs, state)
    assert len(found) == LAYERS - 1
    for count, output in enumerate(found, start=1):
        part = first_layers(kind, whole, count, other)
        rows = count * (2 if bidirectional else 1)
        expected = part(inputs, of_first_layers(state, rows))[0]
        torch.testing.assert_close(plain(output), plain(expected))
        if how == "packed":
            assert torch.equal(output.batch_sizes, expected.batch_sizes)
            assert torch.equal(output.unsorted_indices, expected.unsorted_indices)


def test_one_layer_has_none_inside() -> None:
    assert inner_outputs(nn.LSTM(D, H), torch.randn(T, N, D)) == []


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_layers_have_the_type_of_the_stack(dtype: torch.dtype) -> None:
    whole = nn.GRU(D, H, 2, dtype=dtype)
    (found,) = inner_outputs(whole, torch.randn(T, N, D, dtype=dtype))
    assert found.dtype == dtype


def test_a_single_sequence_without_an_axis_of_samples() -> None:
    whole, sequence = nn.LSTM(D, H, 2), torch.randn(T, D)
    (found,) = inner_outputs(whole, sequence)
    (expected,) = inner_outputs(whole, sequence[:, None])
    torch.testing.assert_close(found, expected[:, 0])


@pytest.mark.parametrize(("kind", "other"), KINDS)
def test_nothing_changes_and_nothing_is_drawn(kind: Kind, other: dict[str, Any]) -> None:
    whole = kind(D, H, LAYERS, dropout=0.5, bidirectional=True, **other)
    was, drawn = model_state(whole), random_states()
    inner_outputs(whole, torch.randn(T, N, D, generator=torch.Generator().manual_seed(0)))
    assert model_state(whole) == was
    assert random_states() == drawn


class Own(nn.LSTM):
    """With arguments of its own."""

    def __init__(self, width: int) -> None:
        super().__init__(D, width, LAYERS)


def normed(norm: Any) -> nn.RNNBase:
    return norm(nn.LSTM(D, H, LAYERS), "weight_hh_l1")  # type: ignore[no-any-return]


@pytest.mark.filterwarnings("ignore:.torch.nn.utils.weight_norm. is deprecated:FutureWarning")
@pytest.mark.parametrize(
    "build",
    [
        lambda: Own(H),
        lambda: normed(nn.utils.parametrizations.weight_norm),
        lambda: normed(nn.utils.weight_norm),
    ],
    ids=["subclass", "parametrized", "by hooks"],
)
def test_stacks_of_other_kinds(build: Any) -> None:
    whole, inputs = build(), torch.randn(T, N, D)
    plain_one = nn.LSTM(D, H, LAYERS)
    weights = {name: getattr(whole, name) for name in plain_one.state_dict()}
    plain_one.load_state_dict(weights)
    for found, expected in zip(
        inner_outputs(whole, inputs), inner_outputs(plain_one, inputs), strict=True
    ):
        torch.testing.assert_close(found, expected)


class Stack(nn.Module):
    """Rows of an image as a sequence, which comes in as it is told."""

    def __init__(self, layers: int, how: str) -> None:
        super().__init__()
        self.body = nn.LSTM(8, 16, layers, batch_first=how != "time")
        self.head, self.how = nn.Linear(16, 10), how

    def forward(self, x: Tensor) -> Tensor:
        rows: Any = x.flatten(1, 2)
        if self.how == "packed":
            lengths = [8 - k % 3 for k in range(len(rows))]
            rows = nn.utils.rnn.pack_padded_sequence(
                rows, lengths, batch_first=True, enforce_sorted=False
            )
        elif self.how == "time":
            rows = rows.transpose(0, 1)
        if self.how == "keyword":
            _, (state, _) = self.body(input=rows)
        elif self.how == "state":
            zeros = torch.zeros(self.body.num_layers, len(x), 16)
            _, (state, _) = self.body(rows, hx=(zeros, zeros))
        else:
            _, (state, _) = self.body(rows)
        return self.head(state[-1])  # type: ignore[no-any-return]


@pytest.mark.parametrize("how", ["batch", "time", "packed", "keyword", "state"])
def test_a_stack_has_a_profile_of_its_layers(digits: Tensor, how: str) -> None:
    result = probe(Stack(3, how), digits[:100])
    assert result.layers == ("body.layer1", "body.layer2", "input of head")
    assert result.retained[0] > result.retained[1] > 0
    assert not result.stochastic


def test_inner_layers_can_be_asked_for(digits: Tensor) -> None:
    """As all that a result names."""
    model = Stack(3, "batch")
    result = probe(model, digits[:100])
    chosen = probe(model, digits[:100], layers=["body.layer2", "input of head"])
    assert chosen.layers == result.layers[1:]
    assert chosen.retained == pytest.approx(result.retained[1:], abs=1e-5)
    with pytest.raises(ValueError, match=r"`layers` must name modules .* \['body.layer3'\]"):
        probe(model, digits[:100], layers=["body.layer3"])
