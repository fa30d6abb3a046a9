from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from recent_prune import networks
from recent_prune.probe import Ridge, probe
from recent_prune.probe.inputs import first_tensor, gather
from recent_prune.rules import RetainedInformationRule
from tests.networks import Tokens, mlp

CPU = torch.device("cpu")


def test_takes_evenly_spaced_samples_of_a_tensor() -> None:
    inputs = torch.arange(100.0)[:, None]
    assert gather(inputs, 34, CPU).flatten().tolist() == list(range(0, 100, 3))
    assert torch.equal(gather(inputs, None, CPU), inputs)


def test_draws_no_batch_more_than_needed() -> None:
    drawn = 0

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        nonlocal drawn
        while True:
            drawn += 1
            yield torch.rand(10, 3), torch.zeros(10)

    assert gather(batches(), 35, CPU).shape == (35, 3)
    assert drawn == 4


@pytest.mark.parametrize(
    "batch",
    [
        torch.ones(8, 3),
        (torch.ones(8, 3), torch.zeros(8)),
        [torch.ones(8, 3), torch.zeros(8)],
        {"image": torch.ones(8, 3), "label": torch.zeros(8)},
        ((torch.ones(8, 3), torch.zeros(8)), torch.zeros(8)),
    ],
    ids=["tensor", "tuple", "list", "mapping", "nested"],
)
def test_labels_are_ignored(batch: Any) -> None:
    found = first_tensor(batch)
    assert found is not None
    assert found.shape == (8, 3)


@pytest.mark.parametrize("batch_size", [7, 32, 500])
def test_result_does_not_depend_on_the_batch_size(digits: Tensor, batch_size: int) -> None:
    loader = DataLoader(TensorDataset(digits[:200], torch.zeros(200)), batch_size=batch_size)
    assert probe(mlp(), loader) == probe(mlp(), digits[:200])


def nan_inputs() -> Tensor:
    inputs = torch.rand(100, 64)
    inputs[3, 5] = math.nan
    inputs[4, 5] = math.inf
    return inputs


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        (torch.rand(0, 64), ValueError, "`inputs` must hold at least 16 samples, but got 0"),
        (torch.rand(1, 64), ValueError, "`inputs` must hold at least 16 samples, but got 1"),
        ([], ValueError, "`inputs` must yield at least one batch, but it is empty"),
        (torch.rand(()), ValueError, "`inputs` must have shape .* but got a scalar tensor"),
        (torch.rand(30), ValueError, r"`inputs` must have features.* but got shape \(30,\)"),
        (torch.rand(30, 0), ValueError, r"must have features, .* but got shape \(30, 0\)"),
        (torch.full((30, 64), 0.5), ValueError, "`inputs` must vary, but all samples are equal"),
        (nan_inputs(), ValueError, "must be finite, but 2 of 100 samples hold NaN or infinity"),
        (np.ones((30, 64)), TypeError, "got an ndarray: torch.from_numpy"),
        (3, TypeError, "or an iterable of batches .a DataLoader., but got int"),
        ("digits", TypeError, "but got str"),
        ([("a", "b")], TypeError, "Batch 0 of `inputs` must hold a tensor .* but got tuple"),
        (
            [torch.rand(20, 64), torch.rand(20, 32)],
            ValueError,
            r"samples of one shape, but got \(32,\), \(64,\)",
        ),
    ],
)
def test_refuses_bad_inputs(inputs: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        probe(mlp(), inputs)


def test_token_inputs_are_followed_from_their_embedding() -> None:
    tokens = torch.randint(0, 50, (200, 6))
    result = probe(Tokens(), tokens, reconstruct=tokens[:3])
    assert result.layers == ("input of head",)
    assert 0 < result.retained[0] < 1
    assert result.input_rms == 1.0
    assert result.reconstructions is not None
    assert result.reconstructions.by_layer.shape == (1, 3, 6 * 8)


def test_layers_of_token_models_can_be_named() -> None:
    tokens = torch.randint(0, 50, (200, 6))
    result = probe(Tokens(), tokens, layers=["embedding", "hidden"])
    assert result.layers == ("embedding", "hidden")
    assert result.retained[0] > 0.7  # the embedding from itself


def test_a_bag_of_tokens_without_hidden_layers_is_judged_by_its_output() -> None:
    model = nn.Sequential(nn.EmbeddingBag(50, 8), nn.Linear(8, 10))
    result = probe(model, torch.randint(0, 50, (200, 6)))
    assert result.layers == ("output",)
    assert result.retained[0] > 0.5


def test_tokens_without_an_embedding_are_followed_from_their_code() -> None:
    class OneHot(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden, self.head = nn.Linear(12, 16), nn.Linear(16, 10)

        def forward(self, x: Tensor) -> Tensor:
            code = nn.functional.one_hot(x, 12).float()
            return self.head(torch.tanh(self.hidden(code)))  # type: ignore[no-any-return]

    result = probe(OneHot(), torch.randint(0, 12, (200,)))
    assert result.layers == ("input of head",)
    assert result.retained[0] > 0.5


@pytest.mark.parametrize(("value", "nonfinite"), [(0.0, None), (math.nan, "input of head")])
def test_dead_embeddings_retain_nothing(value: float, nonfinite: str | None) -> None:
    model = Tokens()
    model.embedding.weight.data.fill_(value)
    result = probe(model, torch.randint(0, 50, (200, 6)))
    assert result.retained == (0.0,)
    assert result.nonfinite_layer == nonfinite
    assert not RetainedInformationRule()(result).trainable


def test_noise_is_refused() -> None:
    """From 288 samples of white noise nothing can be learned of the others."""
    model = networks.mlp(784, 10, depth=5, width=64)
    with pytest.raises(
        ValueError, match=r"`inputs` must be alike enough.* 288 samples of 784.*37%"
    ):
        probe(model, torch.rand(384, 784))
    assert probe(model, torch.rand(2000, 784), estimator=Ridge(samples=2000)).retained


def test_inputs_are_moved_to_the_device_of_the_model() -> None:
    # The meta device stands in for a GPU: what arrives there has no values, so it is refused
    # only after it was moved.
    assert gather(torch.rand(20, 3), None, torch.device("meta")).device.type == "meta"
