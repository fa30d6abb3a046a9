"""What the benchmark of large models measures with is right; that it is run is another matter."""

from __future__ import annotations

import time

import torch
from torch import nn

from benchmarks.probe_cost.large_models import SIDE, TOKENS, calls, images, texts, translations
from benchmarks.probe_cost.timing import ratio, rounds, seconds

CPU = torch.device("cpu")


def test_batches_hold_the_probes_samples_in_batches_of_a_size() -> None:
    for batches in (images(32), texts(32), translations(32)):
        assert len(batches) == 5
    assert [x.shape for x, _ in images(160)] == [(160, 3, SIDE, SIDE)]
    (whole,) = texts(160)
    assert set(whole) == {"input_ids", "attention_mask"}
    assert whole["input_ids"].shape == (160, TOKENS)
    assert not whole["input_ids"][whole["attention_mask"] == 0].any()
    assert len(whole["attention_mask"].sum(1).unique()) > 1
    (pairs,) = translations(160)
    assert torch.equal(pairs["labels"], pairs["input_ids"])


def test_both_calls_run_the_model_on_the_same_batches() -> None:
    seen: list[int] = []

    class Flat(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(len(x))
            return super().forward(x)  # type: ignore[no-any-return, no-untyped-call]

    model = Flat(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 8), nn.Tanh(), nn.Linear(8, 2))
    found = calls(model, images(32), CPU)
    found["forward"]()
    assert seen == [32] * 5
    seen.clear()
    found["probe"]()
    assert seen == [160 + 16]  # with perturbed ones


def test_any_clock_may_be_taken() -> None:
    ticks = iter(range(100))
    assert seconds(lambda: None, CPU, lambda: next(ticks)) == 1
    timed = rounds({"a": lambda: next(ticks), "b": lambda: None}, 2, CPU, lambda: next(ticks))
    assert timed == [{"a": 2, "b": 1}] * 2
    assert ratio(timed, "a", "b") == 2
    assert seconds(lambda: time.sleep(0.01), CPU) >= 0.01
