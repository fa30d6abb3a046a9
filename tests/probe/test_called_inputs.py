"""What of a batch is an input, a target or a sample, and which outputs count."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import recent_prune as rp
from tests.probe.test_called_otherwise import BATCH, body, probed, training


@pytest.fixture
def batches(digits: Tensor) -> list[tuple[Tensor, Tensor]]:
    rows = digits[: 5 * BATCH].flatten(1)
    return [(part, torch.arange(BATCH) % 10) for part in rows.split(BATCH)]


class StepsFirst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(8, 16, num_layers=2), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0][-1])  # type: ignore[no-any-return]


@pytest.mark.parametrize("trained", [False, True])
def test_steps_may_come_before_samples(trained: bool, batches: list[tuple[Tensor, Tensor]]) -> None:
    model = StepsFirst()
    steps_first = [(x.reshape(BATCH, 8, 8).transpose(0, 1), y) for x, y in batches]
    result = probed(model, steps_first, trained)
    assert result.samples == len(batches) * BATCH
    assert result.layers == ("lstm.layer1", "input of head")
    assert rp.TrainabilityRule()(result).trainable


def test_boxes_and_letters_in_a_row_are_targets_of_batches() -> None:
    images = [(torch.rand(BATCH, 1, 8, 8), torch.rand(boxes, 6)) for boxes in (57, 20, 41)]
    model = nn.Sequential(nn.Flatten(), body(), nn.Linear(32, 10))
    assert rp.probe(model, images).samples == 3 * BATCH
    sequences = [(torch.rand(BATCH, 8, 8), torch.randint(9, (letters,))) for letters in (70, 91)]
    assert rp.probe(model, sequences).samples == 2 * BATCH


class Anchored(nn.Module):
    def __init__(self, first: bool) -> None:
        super().__init__()
        self.body, self.first = body(), first
        self.register_buffer("anchors", torch.rand(10, 4))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        anchors, scores = self.get_buffer("anchors").expand(len(x), -1, -1), self.body(x)
        names = ("anchors", "scores") if self.first else ("scores", "anchors")
        return dict(zip(names, (anchors, scores) if self.first else (scores, anchors), strict=True))


@pytest.mark.parametrize("trained", [False, True], ids=["forward", "trained"])
@pytest.mark.parametrize("first", [False, True])
def test_what_is_the_same_for_all_inputs_beside_the_scores_is_no_dead_output(
    first: bool, trained: bool, batches: list[tuple[Tensor, Tensor]]
) -> None:
    model = Anchored(first)
    with_steps = training(model, lambda output, y: F.cross_entropy(output["scores"], y))
    inputs = batches if trained else [{"x": x} for x, _ in batches]
    found = rp.probe(model, inputs, training=with_steps if trained else None)
    assert not found.constant_output
    assert rp.TrainabilityRule()(found).trainable
    nn.init.zeros_(model.body[-2].weight)  # type: ignore[arg-type]
    assert rp.probe(model, inputs).constant_output


def test_what_is_sparse_beside_the_output_is_no_obstacle(
    batches: list[tuple[Tensor, Tensor]],
) -> None:
    class Sparse(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = body()

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self.body(x), torch.eye(len(x)).to_sparse()

    assert not rp.probe(Sparse(), batches).constant_output


class Prototypes(nn.Module):
    """Tells samples by how far they are from others."""

    def __init__(self) -> None:
        super().__init__()
        self.body = body()

    def forward(self, query: Tensor, support: Tensor) -> Tensor:
        return -torch.cdist(self.body(query), self.body(support))


@pytest.mark.parametrize("by_call", [False, True])
def test_inputs_of_unlike_lengths_are_no_list_of_samples(
    by_call: bool, batches: list[tuple[Tensor, Tensor]]
) -> None:
    model = Prototypes()
    given = [((x, x[:10]), y) for x, y in batches]
    call = (lambda model, batch: model(*batch[0])) if by_call else None
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    found = rp.probe(
        model, given, training=rp.Training(F.cross_entropy, optimizer, budget=200, call=call)
    )
    assert found.samples >= 100
    assert found.retained[0] > 0.1


def test_batches_of_two_loaders_are_inputs_both(batches: list[tuple[Tensor, Tensor]]) -> None:
    def call(model: nn.Module, batch: Any) -> Any:
        (x, y), (other, _) = batch
        return F.cross_entropy(model(x), y) + 0.1 * model(other).square().mean()

    found = rp.probe(body(), list(zip(batches, batches[::-1], strict=True)), call=call)
    assert found.inputs == ("0.0", "1.0")
    assert min(found.retained) > 0.1
    assert rp.TrainabilityRule()(found).trainable
