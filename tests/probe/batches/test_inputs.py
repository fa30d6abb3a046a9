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
from recent_prune.probe import probe
from recent_prune.probe.batches.inputs import first_tensor, gather
from recent_prune.rules import SaturationRule, TrainabilityRule
from tests.networks import Tokens, mlp


def test_takes_evenly_spaced_samples_of_a_tensor() -> None:
    inputs = torch.arange(100.0)[:, None]
    assert gather(inputs, 34).flatten().tolist() == list(range(0, 100, 3))
    assert torch.equal(gather(inputs, None), inputs)


def test_draws_no_batch_more_than_needed() -> None:
    drawn = 0

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        nonlocal drawn
        while True:
            drawn += 1
            yield torch.rand(10, 3), torch.zeros(10)

    assert gather(batches(), 35).shape == (35, 3)
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
    loader = DataLoader(TensorDataset(digits[:160], torch.zeros(160)), batch_size=batch_size)
    assert probe(mlp(), loader) == probe(mlp(), digits[:160])


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
        (np.array(["a", "b"]), TypeError, "can't convert np.ndarray of type numpy.str_"),
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
    assert result.reconstructions.by_layer.shape == (1, 3, 8)


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
    assert result.zeroed == (value == 0)  # that may be meant, so only NaN is condemned
    assert TrainabilityRule()(result).trainable == result.zeroed


def test_noise_is_probed_with_a_warning_and_nothing_is_condemned_for_what_it_loses() -> None:
    """Of 3,000 independent features little can be learned from 160 samples, by any network."""
    model = networks.mlp(3000, 10, depth=20, width=16, weight_variance=0.25)
    with pytest.warns(UserWarning, match=r"Only \d\d% of `inputs` can be .*at least 30% needed"):
        result = probe(model, torch.randn(200, 3000))
    assert result.retained[-1] < 0.002
    assert not result.inputs_recoverable
    assert not result.constant_output
    assert TrainabilityRule()(result).trainable
    assert SaturationRule()(result).trainable


X, Y = torch.rand(20, 3), torch.arange(20)


@pytest.mark.parametrize(
    "batch",
    [
        {"labels": Y, "attention_mask": torch.ones(20, 3), "input_ids": X},
        {"label": Y, "anything": X},
        {"image": X, "mask": torch.ones(20, 2)},
    ],
)
def test_a_mapping_gives_what_is_called_an_input(batch: Any) -> None:
    assert torch.equal(gather([batch], 34), X)


@pytest.mark.parametrize("kind", [tuple, list])
def test_one_batch_with_labels_is_one_batch(kind: Any) -> None:
    assert torch.equal(gather(kind([X, Y]), 34), X)
    assert gather(kind([X, X]), 40).shape == (40, 3)  # two batches


def test_takes_arrays_in_the_type_of_parameters() -> None:
    array = np.random.default_rng(0).random((100, 4))
    array.setflags(write=False)
    gathered = gather(array, 20)
    assert gathered.dtype == torch.float32
    assert torch.equal(gathered, gather(torch.from_numpy(array.astype(np.float32)), 20))
    assert gather(np.arange(200).reshape(100, 2), 20).dtype == torch.int64


def test_a_mapping_that_does_not_tell_is_refused() -> None:
    with pytest.raises(ValueError, match=r"tensors under \['mask', 'features'\]: call"):
        gather([{"mask": X, "features": X}], 34)
    assert torch.equal(gather([{"mask": X, "x": X + 1}], 34), X + 1)


def test_a_tuple_is_one_batch_whatever_its_labels() -> None:
    one_hot = torch.eye(20)
    assert torch.equal(gather((X, one_hot), 34), X)
    assert torch.equal(gather((X, Y, torch.rand(20)), 34), X)
    assert len(gather([X, X + 1], 40)) == 40


def test_a_default_device_is_no_obstacle() -> None:
    with torch.device("meta"):
        assert len(gather(torch.rand(500, 3, device="cpu"), 160)) == 160
