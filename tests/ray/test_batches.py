from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from ray import cloudpickle
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from recent_prune.probe.first_steps.training import STEPS
from recent_prune.ray.batches import SPARE, repeatable, sendable, takes_configuration

X, Y = torch.randn(2000, 3), torch.randint(2, (2000,))


def load(config: dict[str, Any], batch_size: int = 8) -> Tensor:
    return X[:batch_size]


class Loads:
    def __call__(self, config: dict[str, Any]) -> Tensor:
        return X


@pytest.mark.parametrize("inputs", [load, Loads(), functools.partial(load, batch_size=4)])
def test_functions_of_the_configuration(inputs: Any) -> None:
    assert takes_configuration(inputs)


@pytest.mark.parametrize(
    "inputs", [X, [X], None, lambda: X, lambda size=3: X, lambda *a, **b: X, dict]
)
def test_what_all_trials_share(inputs: Any) -> None:
    assert not takes_configuration(inputs)


def test_functions_of_more_are_refused() -> None:
    with pytest.raises(TypeError, match=r"or of the configuration alone, but got .* needs a, b\."):
        takes_configuration(lambda a, b: X)
    with pytest.raises(TypeError, match=r"but got .* which needs config\."):
        takes_configuration(lambda *, config: X)


def test_tensors_and_lists_are_sent_whole() -> None:
    sent: Any = sendable((X, Y), 100, trained=True)
    assert torch.equal(sent[0], X)
    assert torch.equal(sent[1], Y)
    named = [{"x": x, "y": y} for x, y in zip(X.split(50), Y.split(50), strict=True)]
    batches: Any = sendable(named, 100, trained=True)
    assert len(batches) == 40
    assert torch.equal(batches[39]["y"], Y[-50:])


def test_arrays_are_sent_whole() -> None:
    both: Any = sendable((X.numpy(), Y.numpy()), 100, trained=True)
    assert [len(array) for array in both] == [2000, 2000]
    alone: Any = sendable(X.numpy(), 100, trained=True)
    assert alone.shape == (2000, 3)


def test_a_part_of_a_tensor_is_sent_without_the_rest() -> None:
    whole = torch.randn(100_000, 3)
    sent = sendable([(x, x) for x in whole[:400].split(50)], 100, trained=True)
    assert len(cloudpickle.dumps(sent)) < 50_000


def test_of_a_loader_twice_the_batches_are_sent_and_it_comes_back() -> None:
    asked: list[int] = []

    class Counted(TensorDataset):
        def __getitem__(self, index: Any) -> Any:
            asked.append(index)
            return super().__getitem__(index)  # type: ignore[no-untyped-call]

    generator = torch.Generator().manual_seed(3)
    loader = DataLoader(Counted(X, Y), 20, shuffle=True, generator=generator)
    before, ours = generator.get_state(), torch.get_rng_state()
    sent: Any = sendable(loader, 100, trained=True)
    needed = SPARE * (STEPS + 100 // 20)
    assert isinstance(sent, list)
    assert len(sent) == needed
    assert len(asked) == needed * 20
    assert [len(batch) for batch in sent[0]] == [20, 20]
    assert torch.equal(generator.get_state(), before)
    assert torch.equal(torch.get_rng_state(), ours)
    assert torch.equal(sendable(loader, 100, trained=True)[0][0], sent[0][0])  # type: ignore[index]


def test_all_of_a_loader_that_is_short_or_where_the_estimator_takes_all() -> None:
    loader = DataLoader(TensorDataset(X[:60], Y[:60]), 20)
    assert len(sendable(loader, 100, trained=True)) == 3  # type: ignore[arg-type]
    assert len(sendable(DataLoader(TensorDataset(X, Y), 20), None, trained=True)) == 100  # type: ignore[arg-type]


def test_samples_alone_are_cut_to_what_the_estimator_needs() -> None:
    ((x, y),) = sendable((X, Y), 100, trained=False)
    assert len(x) == len(y) == 100


@pytest.mark.parametrize("inputs", ["digits", {"x": X, "y": Y[:3]}, 3])
def test_no_batches(inputs: Any) -> None:
    with pytest.raises(TypeError, match=r"`inputs` must be tensors .*or an iterable of batches"):
        sendable(inputs, 100, trained=True)


@pytest.mark.parametrize("trained", [True, False])
def test_too_few_are_told_at_once(trained: bool) -> None:
    with pytest.raises(ValueError, match="`inputs` must hold at least 16 samples, but got 3"):
        sendable((X[:3], Y[:3]), 100, trained=trained)


def test_an_iterator_serves_more_than_one_trial() -> None:
    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        yield from zip(X.split(50), Y.split(50), strict=True)

    kept: Any = repeatable(batches(), 100)
    assert len(kept) == SPARE * (STEPS + 2)
    loader = DataLoader(TensorDataset(X, Y), 50)
    assert repeatable(loader, 100) is loader
