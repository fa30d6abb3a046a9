"""Memory that many models take, and what is done about it."""

from __future__ import annotations

import gc
import tracemalloc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import recent_prune as rp
from recent_prune.probe import groups, many
from recent_prune.probe.watching.stack import (
    OF_A_MODULE,
    held_bytes,
    observe_stacked,
    state_bytes,
)
from tests.networks import mlp
from tests.probe.many_models import assert_close


def test_memory_that_runs_out_makes_the_stacks_smaller(
    digits: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def scarce(models: Any, *arguments: Any) -> Any:
        tried.append(len(models))
        if len(models) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(models, *arguments)

    original = observe_stacked
    monkeypatch.setattr(groups, "observe_stacked", scarce)
    models = [mlp(seed=i) for i in range(9)]
    for one, model in zip(rp.probe_many(models, digits), models, strict=True):
        assert_close(one, rp.probe(model, digits))
    assert tried == [8, 4, 2, 2, 2, 2]


def test_little_memory_makes_small_groups(digits: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = 0

    def models() -> Iterator[nn.Module]:
        nonlocal drawn
        for i in range(6):
            drawn += 1
            yield mlp(seed=i)

    most = 0
    original = groups.Stacked.outcomes

    def counted(self: Any, group: Any) -> Any:
        nonlocal most
        most = max(most, len(group))
        assert drawn == group[-1][0] + 1  # no model is drawn before it is needed
        return original(self, group)

    monkeypatch.setattr(groups.Stacked, "outcomes", counted)
    monkeypatch.setattr(groups, "free_memory", lambda _: 4 * 2 * state_bytes(mlp()))
    assert len(rp.probe_many(models(), digits)) == 6
    assert most == 2


@pytest.mark.parametrize("given", [True, False])
def test_few_models_of_a_generator_wait(
    digits: Tensor, monkeypatch: pytest.MonkeyPatch, given: bool
) -> None:
    most_bytes = 4 * held_bytes(mlp(width=18))
    monkeypatch.setattr(many, "free_memory", lambda _: 0 if given else 4 * most_bytes)
    alive: set[int] = set()
    most = 0

    def models() -> Iterator[nn.Module]:
        nonlocal most
        for i in range(20):
            model = mlp(width=8 + i)
            alive.add(i)
            weakref.finalize(model, alive.discard, i)
            most = max(most, len(alive))
            yield model
            del model

    waiting = most_bytes if given else None
    assert len(rp.probe_many(models(), digits, waiting=waiting)) == 20
    assert 4 <= most <= 8


def test_a_model_larger_than_what_may_wait_is_probed_at_once(digits: Tensor) -> None:
    alone = rp.probe_many([mlp(seed=0), mlp(seed=1)], digits, waiting=0)
    together = rp.probe_many([mlp(seed=0), mlp(seed=1)], digits)
    for one, other in zip(alone, together, strict=True):
        assert isinstance(other, rp.ProbeResult)
        assert_close(one, other)


@pytest.mark.parametrize("waiting", [-1, 0.5])
def test_refuses_bytes_that_are_none(digits: Tensor, waiting: Any) -> None:
    with pytest.raises(ValueError, match=f"`waiting` must be a number of bytes, .*got {waiting}"):
        rp.probe_many([mlp()], digits, waiting=waiting)


def test_python_holds_about_as_much_of_a_module_as_is_counted() -> None:
    models = [mlp(width=1)]  # what is loaded once
    count = sum(1 for _ in models[0].modules())
    tracemalloc.start()
    models += [mlp(width=1, seed=seed) for seed in range(20)]
    held = tracemalloc.get_traced_memory()[0] / 20 / count
    tracemalloc.stop()
    assert OF_A_MODULE / 4 < held < OF_A_MODULE


def test_errors_hold_no_models(digits: Tensor) -> None:
    """Nor what their causes hold."""
    seen: list[weakref.ref[object]] = []

    class Failing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(64, 10)

        def forward(self, x: Tensor) -> Tensor:
            activation = self.layer(x.flatten(1))
            seen.append(weakref.ref(activation))
            try:
                raise KeyError("cause")
            except KeyError as error:
                raise RuntimeError("failed") from error

    def models() -> Iterator[nn.Module]:
        for _ in range(4):
            model = Failing()
            seen.append(weakref.ref(model))
            yield model

    outcomes = rp.probe_many(models(), digits)
    assert all(isinstance(outcome, RuntimeError) for outcome in outcomes)
    gc.collect()
    assert [ref() for ref in seen] == [None] * len(seen)
