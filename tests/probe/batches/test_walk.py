from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from recent_prune.probe.batches.calling import Calling
from recent_prune.probe.batches.samples import count_of
from recent_prune.probe.batches.walk import one_tensor, untrained, walk

Pair = tuple[Tensor, Tensor]


def numbered(sizes: list[int]) -> list[Pair]:
    """Batches whose targets number the samples."""
    places = torch.arange(sum(sizes))
    inputs = torch.stack([places.double().sin(), places.double().cos()], dim=1)
    return list(zip(inputs.split(sizes), places.split(sizes), strict=True))


def test_an_error_of_the_loader_says_at_which_batch() -> None:
    def loader() -> Iterator[Pair]:
        yield from numbered([8, 8])
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone") as caught:
        untrained(loader(), 160)
    assert caught.value.__notes__ == ["Raised as batch 2 of `inputs` was asked for."]


def places(batches: list[Any]) -> list[int]:
    return [int(place) for _, targets in batches for place in targets]


def put_together(batches: list[Any], samples: int | None = None) -> Tensor:
    """Of a model that takes one tensor."""
    found = one_tensor(nn.Flatten(), batches, Calling(), samples)
    assert found is not None
    return found


def gathered(inputs: Any, samples: int | None) -> Tensor:
    return put_together(untrained(inputs, samples).probed, samples)


def test_a_loader_is_asked_for_no_more_than_needed() -> None:
    drawn: list[int] = []

    def loader() -> Iterator[Pair]:
        for number, batch in enumerate(numbered([10] * 99)):
            drawn.append(number)
            yield batch

    found = walk(loader(), 4, 25, 64, 0)
    assert places(found.trained) == list(range(40))
    assert places(found.judged) == list(range(40, 70))
    assert torch.equal(put_together(found.probed, 25), torch.cat([x for x, _ in found.judged])[:25])
    assert drawn == list(range(7))


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=14),
    st.integers(1, 12),
    st.one_of(st.none(), st.integers(16, 200)),
)
def test_loaders_of_any_length(sizes: list[int], steps: int, samples: int | None) -> None:
    if sum(sizes) < 16:
        sizes = [*sizes, 16]
    batches = numbered(sizes)
    met = walk(batches, steps, samples, 64, 0)
    trained, judged = places(met.trained), places(met.judged)
    assert 1 <= len(met.trained) <= steps or len(batches) == 1
    assert trained == list(range(len(trained)))  # in order, from the first on
    if len(batches) == 1:
        assert trained == judged
        return
    assert judged
    assert set(trained).isdisjoint(judged)
    later = sum(sizes[steps:])
    if later >= (1 if samples is None else samples):
        assert len(met.trained) == steps
    elif len(met.trained) < steps:
        assert len(met.judged) <= len(batches) - len(batches) // 2
    if samples is not None:
        assert len(put_together(met.probed, samples)) == min(sum(sizes), samples)


def test_one_batch_is_trained_on_and_judged() -> None:
    (batch,) = numbered([30])
    found = walk([batch], 5, 160, 64, 0)
    assert found.trained == [batch] == found.judged
    assert torch.equal(put_together(found.probed), batch[0])


def test_a_short_loader_gives_the_probe_what_was_trained_on_too() -> None:
    found = walk(numbered([10] * 4), 8, 160, 64, 0)
    assert places(found.trained) == list(range(20))
    assert places(found.judged) == list(range(20, 40))
    assert places(found.probed) == [*range(20, 40), *range(20)]


def test_ragged_batches_are_batches() -> None:
    found = walk(numbered([10, 10, 3, 7, 30, 1]), 2, 40, 64, 0)
    assert [len(x) for x, _ in found.trained] == [10, 10]
    assert [len(x) for x, _ in found.judged] == [3, 7, 30]


def test_tensors_are_shuffled_by_the_seed_and_cut() -> None:
    ((inputs, targets),) = numbered([200])
    one, same, other = (walk((inputs, targets), 3, None, 50, seed) for seed in (0, 0, 1))
    assert [len(x) for x, _ in one.trained] == [50, 50, 50]
    assert sorted(places([*one.trained, *one.judged])) == list(range(200))
    assert places(one.trained) == places(same.trained) != places(other.trained)
    for x, y in one.trained:
        assert torch.equal(x, inputs[y])


@pytest.mark.parametrize(
    ("samples", "size", "sizes"),
    [(129, 64, [64, 65]), (65, 64, [65]), (66, 64, [64, 2]), (40, 1, [1] * 40), (64, 64, [64])],
)
def test_no_single_sample_is_left_over(samples: int, size: int, sizes: list[int]) -> None:
    """Batch normalisation would refuse it."""
    (batch,) = numbered([samples])
    found = walk(batch, 1, None, size, 0)
    whole = found.trained[0] is found.judged[0]
    both = found.trained if whole else [*found.trained, *found.judged]
    assert [count_of(b) for b in both] == sizes


def test_arrays_become_what_models_take() -> None:
    inputs = np.random.default_rng(0).random((100, 3))
    inputs.setflags(write=False)
    found = walk((inputs, inputs[:, 0], np.arange(100)), 2, 30, 20, 0)
    x, y, classes = found.trained[0]
    assert (x.dtype, y.dtype, classes.dtype) == (torch.float32, torch.float32, torch.int64)
    assert torch.equal(x[:, 0], y)
    assert torch.equal(x, torch.from_numpy(inputs[classes]).float())
    alone = walk(inputs, 2, 30, 20, 0)
    assert alone.trained[0].shape == (20, 3)


def test_a_default_device_is_no_obstacle() -> None:
    (batch,) = numbered([100])
    with torch.device("meta"):
        assert walk(batch, 2, 30, 20, 0).probed[0][0].device.type == "cpu"


def test_the_workers_of_a_running_epoch_go_on() -> None:
    inputs = torch.arange(120.0).reshape(60, 2)
    loader = DataLoader(
        TensorDataset(inputs, torch.arange(60)), 6, num_workers=1, persistent_workers=True
    )
    epoch = iter(loader)
    seen = [next(epoch)[1]]
    found = walk(loader, 3, 16, 64, 0)
    assert places(found.trained) == list(range(18))
    seen += [labels for _, labels in epoch]
    assert torch.cat(seen).tolist() == list(range(60))
    assert loader._iterator is epoch


def test_what_does_not_fit_together_is_not_put_together() -> None:
    model = nn.Flatten()
    for batches in ([torch.rand(20, 3), torch.rand(20, 4)], [(torch.rand(20, 3),), [[]]]):
        assert one_tensor(model, batches, Calling(), None) is None
    fitting = [torch.rand(20, 3)] * 2
    assert one_tensor(model, fitting, Calling(lambda model, batch: model(batch)), None) is None


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (torch.rand(30), r"must have features, \[n, …\], but got shape \(30,\)"),
        (torch.ones(30, 2), "must vary, but all samples are equal"),
        (torch.full((30, 2), torch.nan), "must be finite, but 30 of 30 samples hold NaN"),
    ],
)
def test_samples_that_cannot_be_probed_are_refused(samples: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=f"`inputs` {message}"):
        put_together([samples])


def test_what_goes_in_is_what_is_probed() -> None:
    """And not what a batch holds first, or what is called an input."""

    class Features(nn.Module):
        def forward(self, features: Tensor) -> Tensor:
            return features

    @dataclass
    class Record:
        x: Tensor
        features: Tensor

    x, features, y = torch.rand(20, 2), torch.rand(20, 3), torch.arange(20)
    mapping = {"x": x, "features": features, "label": y}
    for batch in (mapping, (mapping, y), Record(x, features)):
        found = one_tensor(Features(), [batch], Calling(), None)
        assert found is not None
        assert torch.equal(found, features)


def test_what_is_not_trained_is_met_from_the_first_batch_on() -> None:
    batches = numbered([10] * 6)
    drawn: list[int] = []

    def loader() -> Iterator[Pair]:
        for number, batch in enumerate(batches):
            drawn.append(number)
            yield batch

    met = untrained(loader(), 25)
    assert met.trained == []
    assert list(map(id, met.probed)) == list(map(id, met.judged)) == list(map(id, batches[:3]))
    assert drawn == [0, 1, 2]
    assert torch.equal(put_together(met.probed, 25), torch.cat([x for x, _ in batches])[:25])
    assert len(untrained(batches, None).probed) == 6


def test_of_samples_side_by_side_evenly_spaced_ones_are_taken() -> None:
    x, y = torch.arange(100.0)[:, None], torch.arange(100)
    spaced = list(range(0, 100, 3))
    for inputs in (x, x.numpy(), (x, y), [x, y], {"x": x, "y": y}):
        assert gathered(inputs, 34).flatten().tolist() == spaced
    assert torch.equal(gathered(x, None), x)
    (batch,) = untrained(({"a": x, "b": x.numpy()}, y), 34).probed
    assert batch[0]["a"].flatten().tolist() == batch[0]["b"].flatten().tolist() == spaced
    assert batch[1].tolist() == spaced


@pytest.mark.parametrize("first", [tuple, list, lambda pair: {"a": pair[0], "b": pair[1]}])
def test_several_inputs_side_by_side_are_cut_as_one(first: Any) -> None:
    ((x, y),) = numbered([100])
    found = walk((first((x, -x)), y), 3, 20, 30, 0)
    for inputs, targets in [*found.trained, *found.judged]:
        a, b = inputs.values() if isinstance(inputs, dict) else inputs
        assert torch.equal(a, x[targets])
        assert torch.equal(b, -x[targets])


def test_a_packed_sequence_is_one_batch() -> None:
    packed = nn.utils.rnn.pack_sequence([torch.rand(2, 3)] * 20)
    assert untrained(packed, 160).probed[0] is packed


SINGLE = [(torch.rand(20), 3), [torch.rand(20), 0.5], (torch.rand(20), torch.tensor(3))]


@pytest.mark.parametrize("item", SINGLE, ids=["int", "float", "scalar"])
def test_single_samples_are_not_taken_for_batches(item: Any) -> None:
    message = r"its item 0 looks like a single sample .* DataLoader\(dataset, batch_size=…\)"
    with pytest.raises(ValueError, match=message):
        walk([item] * 40, 3, 20, 64, 0)
    with pytest.raises(ValueError, match=message):
        untrained([item] * 40, 20)


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        ([], ValueError, "`inputs` must yield at least one batch, but it is empty"),
        (iter(()), ValueError, "`inputs` must yield at least one batch, but it is empty"),
        ("abc", TypeError, r"`inputs` must be tensors or .* \(a DataLoader\), but got str"),
        ({"x": 3}, TypeError, r"of one length, such as \(inputs, targets\), .* but got dict"),
        (3, TypeError, "or an iterable of batches .* but got int"),
        ([3, 4], TypeError, r"Batch 0 of `inputs` must hold a tensor .* but got int"),
        (numbered([10]), ValueError, "`inputs` must hold at least 16 samples, but got 10"),
        (torch.tensor(1.0), ValueError, r"`inputs` must have shape \[n, …\], but got a scalar"),
    ],
)
def test_refuses_what_are_no_batches(inputs: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        walk(inputs, 3, 20, 64, 0)
    with pytest.raises(error, match=message):
        untrained(inputs, 20)
