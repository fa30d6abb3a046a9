from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from recent_prune import networks
from recent_prune.probe import probe
from recent_prune.probe.batches.inputs import (
    chosen,
    first_tensor,
    inputs_of,
    is_side_by_side,
    named_parts,
)
from recent_prune.rules import SaturationRule, TrainabilityRule
from tests.networks import Tokens, mlp


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
        (
            nan_inputs() + 0j,
            ValueError,
            "must be finite, but 2 of 100 samples hold NaN or infinity",
        ),
        (np.array(["a", "b"]), TypeError, "can't convert np.ndarray of type numpy.str_"),
        (3, TypeError, "or an iterable of batches .a DataLoader., but got int"),
        ("digits", TypeError, "but got str"),
        ([("a", "b")], TypeError, "Batch 0 of `inputs` must hold a tensor .* but got tuple"),
        (
            [torch.rand(20, 64), torch.rand(20, 32)],
            RuntimeError,
            r"mat1 and mat2 shapes cannot be multiplied \(20x32 and 64x16\)",
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


X, Y = torch.rand(20, 3), torch.arange(20)
MASK = torch.ones(20, 3)


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (X, True),
        (X.numpy(), True),
        ((X, Y), True),
        ((X, X), True),
        ((X, torch.eye(20)), True),
        ((X, Y, torch.rand(20)), True),
        ((X.numpy(), Y), True),
        (((X, MASK), Y), True),
        (([X, MASK], Y), True),
        (({"a": X, "b": MASK}, Y), True),
        ({"x": X, "y": Y}, True),
        ([X, Y], True),  # surely inputs and targets
        ([X, X], False),  # two batches
        ([(X, Y), (X, Y)], False),
        ([X], False),
        ((X, torch.rand(19)), False),
        ((X, torch.tensor(1.0)), False),
        ({"x": X, "name": "text"}, False),
        (DataLoader(TensorDataset(X)), False),
        (nn.utils.rnn.pack_sequence([X, X]), False),
        ((), False),
        ("text", False),
        (3, False),
        (None, False),
    ],
)
def test_samples_side_by_side_are_told_from_batches(inputs: Any, expected: bool) -> None:
    assert is_side_by_side(inputs) == expected


def test_samples_side_by_side_are_chosen() -> None:
    index = torch.tensor([4, 1])
    found = chosen(({"a": X, "b": [X.numpy(), MASK]}, Y), index)
    assert torch.equal(found[0]["a"], X[[4, 1]])
    assert torch.equal(found[0]["b"][0], X[[4, 1]])
    assert found[0]["b"][1].shape == (2, 3)
    assert found[1].tolist() == [4, 1]


@pytest.mark.parametrize(
    "batch",
    [
        {"labels": Y, "attention_mask": MASK, "input_ids": X},
        {"label": Y, "anything": X},
        {"image": X, "mask": torch.ones(20, 2)},
        {"mask": X + 1, "x": X},
        (X, Y),
        ((X, MASK), Y),
        X,
    ],
)
def test_a_mapping_tells_what_is_called_an_input(batch: Any) -> None:
    assert inputs_of(batch) is X


def test_a_mapping_that_does_not_tell_is_refused() -> None:
    with pytest.raises(ValueError, match=r"tensors under \['mask', 'features'\]: call"):
        inputs_of({"mask": X, "features": X})


def test_objects_have_parts() -> None:
    class Own:
        def __init__(self) -> None:
            self.x, self.name = X, "text"

    class Geometric:
        """As a graph of PyTorch Geometric, which keeps its tensors elsewhere."""

        def to(self, _: Any) -> Geometric:
            return self

        def to_dict(self) -> dict[str, Any]:
            return {"x": X, "num_nodes": 20}

    assert named_parts(Own()) == {"x": X}
    assert named_parts(Geometric()) == {"x": X, "num_nodes": 20}
    assert named_parts([X, 3]) == {"0": X, "1": 3}
    for value in ("text", 3, None, X, nn.Linear(2, 2)):
        assert named_parts(value) == {}


class PerImage(nn.Module):
    """Of images of any size."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 6, 3, padding=1)
        self.head = nn.Linear(6, 10)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.second(torch.relu(self.first(x))))
        return self.head(hidden.mean(dim=(2, 3)))  # type: ignore[no-any-return]


def test_batches_of_unlike_shapes_are_summed_over_what_differs(digits: Tensor) -> None:
    small, large = digits[:80], nn.functional.interpolate(digits[80:160], size=(12, 10))
    model = PerImage()
    one, several = probe(model, digits[:160]), probe(model, [small, large])
    assert several.layers == one.layers
    assert several.samples == 160
    assert several.inputs == ("x",)
    assert all(0 < share <= 1 for share in several.retained)
    assert several.unseen == ()
    assert probe(model, [small, large]) == several
