from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import pandas as pd
import pytest
import torch

from benchmarks.prediction.elsewhere import evaluate
from benchmarks.prediction.elsewhere.networks import FAMILIES, build
from benchmarks.prediction.elsewhere.specification import OPTIMIZERS, Specification
from benchmarks.prediction.elsewhere.tasks import brackets, majority, spirals
from benchmarks.prediction.elsewhere.train import _both, probed, trained
from benchmarks.prediction.trials.tasks import Task

NOWHERE = Path()
"""These tasks read nothing."""

TRIAL = Specification(
    index=3,
    task="majority",
    family="rnn",
    depth=2,
    width=16,
    activation="mish",
    norm="group",
    dropout=0.2,
    branch_scale=0.1,
    gain=1.0,
    zero_head=False,
    optimizer="nadam",
    learning_rate=1e-3,
    weight_decay=0.0,
    clip_norm=1.0,
    batch_size=16,
    budget=12,
)


def task_of(family: str) -> Task:
    """One that a family learns, of random numbers."""
    shapes = {"u-net": (1, 14, 14), "sine mlp": (2,), "gated mlp": (6,), "table resnet": (6,)}
    images = dict.fromkeys(("vgg", "convnext", "mixer", "densenet"), (1, 28, 28))
    shape = {**shapes, **images}.get(family, (9, 3))
    x, outputs = torch.randn(48, *shape), 196 if family == "u-net" else 3
    parts = (x, torch.randn(48, outputs)), (x, torch.randn(48, outputs))
    return Task("random", "random", "values", *parts, outputs, (family,))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("norm", ["none", "batch", "group"])
def test_networks_give_as_many_numbers_as_are_asked_for(family: str, norm: str) -> None:
    of = task_of(family)
    model = build(replace(TRIAL, family=family, norm=norm), of)
    output = model(of.train[0])
    assert output.shape == (48, of.outputs)
    of.loss(output, of.train[1]).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_what_is_probed_is_what_is_trained(optimizer: str) -> None:
    of, s = task_of("rnn"), replace(TRIAL, optimizer=optimizer)
    steps = probed(s, of).steps
    assert steps is not None
    assert steps.learning_rate == pytest.approx(s.learning_rate, rel=1e-3)  # at whole steps
    assert steps.budget == 12
    first = next(iter(s.batches(of)))
    loss = of.loss(build(replace(s, dropout=0.0), of)(first[0]), first[1])
    same = probed(replace(s, dropout=0.0), of).steps
    assert same is not None
    assert same.losses[0] == pytest.approx(float(loss.detach()), rel=1e-4)
    assert [row["step"] for row in trained(s, of)] == [1, 2, 4, 8, 12]


def test_tasks_can_be_told_only_by_what_they_ask() -> None:
    x, y = brackets(NOWHERE).train
    row, closes = x[y == 0][0].tolist(), {2: 0, 3: 1}
    opened: list[int] = []
    for symbol in row:
        if symbol in closes:
            assert opened.pop() == closes[symbol]
        else:
            opened.append(symbol)
    assert opened == []
    counts = torch.nn.functional.one_hot(majority(NOWHERE).train[0], 5).sum(dim=1)
    assert torch.equal(counts.argmax(dim=1), majority(NOWHERE).train[1])
    assert spirals(NOWHERE).constant[1] < 0.4


def test_a_row_says_what_was_seen_and_what_came_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "set_flush_denormal", lambda _: None)  # of the whole process
    described, rows = _both((TRIAL, NOWHERE))
    assert described["error"] is None
    assert described["probe"].startswith("{")
    assert rows[-1]["step"] == 12
    batches = list(islice(TRIAL.batches(majority(NOWHERE)), 3))
    assert [len(x) for x, _ in batches] == [16] * 3


def test_the_results_are_those_of_the_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    read = pd.read_parquet
    monkeypatch.setattr(pd, "read_parquet", lambda path: read(path).query("`index` < 120"))
    table = evaluate.judged()
    assert 60 < len(table) <= 120
    assert set(table.loc[table["condemned"], "cause"]) <= {
        *("dead", "diverges", "lost", "exploded", "non-finite", "stalls", "unlikely"),
    }
    assert table.loc[table["fails"], "score"].mean() < table.loc[table["good"], "score"].mean()
